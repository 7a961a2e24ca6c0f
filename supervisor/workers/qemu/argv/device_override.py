"""<qemu:override>: other values for properties of devices on the command line.

Owns: that replacement. May touch: values only.
Source: libvirt 9.0 formatdomain, "Overriding properties of QEMU devices"; measured. A device that
is plugged into a running guest is not overridden.
"""

from __future__ import annotations

import msgspec

from conf.domain.qemu_namespace import QemuOverride
from supervisor.workers.qemu.argv.launch_inputs import Option
from supervisor.workers.qemu.argv.syntax import json_of


def overridden(option: Option, override: QemuOverride | None) -> Option:
    """Replace properties of a -device in JSON, or remove them; others are left as they are.

    A property that is replaced comes last.
    """
    if override is None or option[0] != "-device" or not option[1].startswith("{"):
        return option
    members = msgspec.json.decode(option[1], type=dict[str, msgspec.Raw])
    changed = False
    for device in override.devices:
        if bytes(members.get("id", b"")) == msgspec.json.encode(device.alias):
            changed = True
            for each in device.properties:
                members.pop(each.name, None)
                value = each.json_value
                if value is not None:
                    members[each.name] = msgspec.Raw(msgspec.json.encode(value))
    return (option[0], json_of(members)) if changed else option
