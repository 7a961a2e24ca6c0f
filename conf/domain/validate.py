"""What libvirt 9.0 refuses of a completed domain, for QEMU.

Owns: the order of the checks; the checks of devices are `conf.domain.devices.validate`'s.
May touch: nothing; a domain is read, never changed.
"""

from __future__ import annotations

from conf.domain.model import Domain
from conf.emulator import EmulatorFacts


def validate(domain: Domain, facts: EmulatorFacts) -> None:
    """Refuse what cannot be.

    Raises:
        ConfError: the kind is the code that libvirt answers with.
    """
