"""Access policy: writes installer/polkit/org.libvirt.api.policy, polkit's list of our permissions.

Owns: the file; `python -m installer.access_policy > installer/polkit/org.libvirt.api.policy`.
May touch: standard output. The permissions are those of rpc/access.table; as with libvirt, what
only reads is allowed unless a rule says otherwise, and all else is not.
"""

from __future__ import annotations

from typing import Final

from lxml import etree

from rpc.access_table import Permission, load_access

HEADER: Final = (
    '<?xml version="1.0" encoding="UTF-8"?>\n'
    '<!DOCTYPE policyconfig PUBLIC "-//freedesktop//DTD PolicyKit Policy Configuration 1.0//EN"\n'
    ' "http://www.freedesktop.org/standards/PolicyKit/1.0/policyconfig.dtd">\n'
    "<!-- Written by installer/access_policy.py from rpc/access.table. -->\n"
)
#: How a message calls the objects of a type.
OBJECTS: Final = {
    "connect": "this host",
    "domain": "a virtual machine",
    "interface": "a network interface of the host",
    "network": "a virtual network",
    "network_port": "a port of a virtual network",
    "node_device": "a device of the host",
    "nwfilter": "a network filter",
    "nwfilter_binding": "the binding of a network filter",
    "secret": "a secret",
    "storage_pool": "a storage pool",
    "storage_vol": "a storage volume",
}
SUBJECTS: Final = ("allow_any", "allow_inactive", "allow_active")


def policy() -> str:
    """Return the file's text."""
    root = etree.Element("policyconfig")
    etree.SubElement(root, "vendor").text = "virtvisor"
    for permission, is_everybodys in sorted(load_access().permissions.items()):
        _add_action(root, permission, is_everybodys=is_everybodys)
    etree.indent(root)
    return HEADER + etree.tostring(root, encoding="unicode") + "\n"


def _add_action(root: etree._Element, permission: Permission, *, is_everybodys: bool) -> None:
    action = etree.SubElement(root, "action")
    action.set("id", f"org.libvirt.api.{permission}".replace("_", "-"))
    name = permission.name.replace("_", " ")
    on = OBJECTS[permission.object]
    etree.SubElement(action, "description").text = f"Permission '{name}' on {on}"
    message = f"The permission '{name}' on {on} is needed"
    etree.SubElement(action, "message").text = message
    defaults = etree.SubElement(action, "defaults")
    for subject in SUBJECTS:
        etree.SubElement(defaults, subject).text = "yes" if is_everybodys else "no"


if __name__ == "__main__":
    print(policy(), end="")
