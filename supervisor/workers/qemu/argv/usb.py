"""USB hubs and redirected USB devices.

Owns: usb-hub, usb-redir and its filter.
May touch: values only.
"""

from __future__ import annotations

from conf.domain.devices.redirdev import Redirdev, UsbRule
from supervisor.workers.qemu.argv.addressing import placed
from supervisor.workers.qemu.argv.chardev import chardev
from supervisor.workers.qemu.argv.launch_inputs import Context, Options, device


def hubs(context: Context) -> Options:
    """Build the USB hubs."""
    for hub in context.domain.devices.hubs:
        yield device({"driver": "usb-hub", "id": hub.alias, **placed(context, hub.address)})


def redirdevs(context: Context) -> Options:
    """Build the USB redirection devices of SPICE clients."""
    for redirdev in context.domain.devices.redirdevs:
        yield from redirdev_options(context, redirdev)


def redirdev_options(context: Context, redirdev: Redirdev) -> Options:
    """Build one USB redirection device."""
    filters = context.domain.devices.redirfilter
    rules = "|".join(_rule(rule) for rule in filters.rules) if filters else None
    alias = redirdev.alias or ""
    yield from chardev(context, alias, redirdev.source, name="usbredir")
    yield device(
        {
            "driver": "usb-redir",
            "chardev": f"char{alias}",
            "id": alias,
            "filter": rules or None,
            "bootindex": redirdev.boot_order,
            **placed(context, redirdev.address),
        }
    )


def _rule(rule: UsbRule) -> str:
    """Write a filter rule, class:vendor:product:version:allow; -1 matches any."""
    numbers = [
        "-1" if rule.usb_class is None else f"0x{rule.usb_class:02X}",
        "-1" if rule.vendor is None else f"0x{rule.vendor:04X}",
        "-1" if rule.product is None else f"0x{rule.product:04X}",
        "-1" if rule.version is None else f"0x{rule.version:04X}",
    ]
    return ":".join([*numbers, str(int(rule.allow))])
