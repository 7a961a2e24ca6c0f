"""What the document may say and QEMU, or virtvisor so far, does not do: refused, never dropped.

Owns: the list of refusals at start.
May touch: values only.
"""

from __future__ import annotations

from collections.abc import Iterator

from conf.errors import ConfError
from supervisor.workers.qemu.argv.context import Context


def refuse(context: Context) -> None:
    """Check the domain for what no area acts on.

    Raises:
        ConfError: "config_unsupported", naming the first such element.
    """
    for what in _wishes(context):
        raise ConfError(
            "config_unsupported", f"{what} cannot be acted on yet; remove it to start the domain"
        )


def _wishes(context: Context) -> Iterator[str]:
    """Name each element that the model understands and no area acts on."""
    devices = context.domain.devices
    if devices.shmems:
        yield "<shmem>"
    if devices.nvram is not None:
        yield "<nvram>"
    if context.domain.launch_security is not None:
        yield "<launchSecurity>"
    if context.domain.keywrap is not None:
        yield "<keywrap>"
