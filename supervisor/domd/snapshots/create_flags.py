"""Which flags of virDomainSnapshotCreateXML go together. Pure.

Source: libvirt 9.0, qemuSnapshotCreateXML.
"""

from __future__ import annotations

from typing import Final

from rpc.enums import DomainSnapshotCreateFlags as CreateFlags
from supervisor.dispatch.service_errors import ServiceErrors

#: Flags that exclude each other, and flags that need another one.
EXCLUSIVE: Final = (
    (CreateFlags.REDEFINE, CreateFlags.NO_METADATA),
    (CreateFlags.REDEFINE, CreateFlags.HALT),
    (CreateFlags.LIVE, CreateFlags.REDEFINE),
    (CreateFlags.LIVE, CreateFlags.HALT),
)
NEEDED: Final = (
    (CreateFlags.CURRENT, CreateFlags.REDEFINE),
    (CreateFlags.QUIESCE, CreateFlags.DISK_ONLY),
)


def check_flags(flags: int, errors: ServiceErrors) -> None:
    """Refuse flags that do not go together.

    Raises:
        VirError: INVALID_ARG.
    """
    for first, second in EXCLUSIVE:
        if flags & first and flags & second:
            prefix = "VIR_DOMAIN_SNAPSHOT_CREATE_"
            pair = f"'{prefix}{first.name}' and '{prefix}{second.name}'"
            detail = f"Flags {pair} are mutually exclusive"
            raise errors.invalid_arg(detail)
    for flag, needed in NEEDED:
        if flags & flag and not flags & needed:
            detail = (
                f"Flag 'VIR_DOMAIN_SNAPSHOT_CREATE_{needed.name}' is required by flag "
                f"'VIR_DOMAIN_SNAPSHOT_CREATE_{flag.name}'"
            )
            raise errors.invalid_arg(detail)
