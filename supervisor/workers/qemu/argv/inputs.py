"""Input devices: tablets, mice, keyboards, the host's own devices.

Owns: USB and virtio input devices; PS/2 ones are the machine's own.
May touch: values only.
"""

from __future__ import annotations

from typing import Final

from conf.domain.devices.input import Input
from supervisor.workers.qemu.argv.addressing import placed
from supervisor.workers.qemu.argv.launch_inputs import Context, Options, device, obj
from supervisor.workers.qemu.argv.virtio import SUFFIXES, virtio_props

USB: Final = {"mouse": "usb-mouse", "tablet": "usb-tablet", "keyboard": "usb-kbd"}
VIRTIO: Final = {
    "mouse": "virtio-mouse-pci", "tablet": "virtio-tablet-pci",
    "keyboard": "virtio-keyboard-pci", "passthrough": "virtio-input-host-pci",
}  # fmt: skip


def inputs(context: Context) -> Options:
    """Build every input device that the machine has not built in."""
    for item in context.domain.devices.inputs:
        yield from input_options(context, item)


def input_options(context: Context, item: Input) -> Options:
    """Build one input device; nothing for a PS/2 one, which is built in."""
    if item.type == "evdev":
        yield obj(
            {
                "qom-type": "input-linux",
                "id": item.alias,
                "evdev": item.source_dev,
                "repeat": item.source_repeat,
                "grab_all": True if item.source_grab == "all" else None,
                "grab-toggle": item.source_grab_toggle,
            }
        )
    elif item.bus == "usb":
        props = {"driver": USB[item.type], "id": item.alias}
        yield device(props | placed(context, item.address))
    elif item.bus == "virtio":
        yield device(
            {
                "driver": VIRTIO[item.type] + SUFFIXES.get(item.model or "", ""),
                **virtio_props(item.driver),
                "id": item.alias,
                "evdev": item.source_evdev if item.type == "passthrough" else None,
                **placed(context, item.address),
            }
        )
