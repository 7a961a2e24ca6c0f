"""Domains for the client tests: guests that only exist, and guests that boot.

Owns: their XML. May not touch: the daemon.
"""

from __future__ import annotations

from typing import Final

from tests.clients.guest import Guest

EMULATOR: Final = "/usr/bin/qemu-system-x86_64"


def idle(name: str, *, devices: str = "", top: str = "", kind: str = "qemu") -> str:
    """A guest with nothing to boot: a few MiB of memory, and QEMU waits in its firmware."""
    return (
        f"<domain type='{kind}'><name>{name}</name><memory unit='MiB'>16</memory><vcpu>1</vcpu>"
        f"<os><type arch='x86_64' machine='pc'>hvm</type></os><features><acpi/><apic/></features>"
        f"{top}<devices><emulator>{EMULATOR}</emulator><controller type='usb' model='none'/>"
        f"<serial type='pty'/><console type='pty'/><memballoon model='virtio'/>{devices}</devices>"
        f"</domain>"
    )


def booting(name: str, guest: Guest, *, devices: str = "", top: str = "", then: str = "") -> str:
    """The tiny Linux guest, which says on its console when it is up.

    Args:
        name: the domain's.
        guest: its kernel and initramfs.
        devices: more of them.
        top: elements beside <devices>.
        then: what it does once it is up, instead of waiting: "poweroff", "reboot" or "panic"; or
            before: "dhcp".
    """
    cmdline = f"{guest.cmdline} then={then}" if then else guest.cmdline
    return (
        f"<domain type='qemu'><name>{name}</name><memory unit='MiB'>192</memory><vcpu>1</vcpu>"
        f"<os><type arch='x86_64' machine='pc'>hvm</type><kernel>{guest.kernel}</kernel>"
        f"<initrd>{guest.initrd}</initrd><cmdline>{cmdline}</cmdline></os>"
        f"<features><acpi/><apic/></features>{top}<devices><emulator>{EMULATOR}</emulator>"
        f"<serial type='pty'/><console type='pty'/><memballoon model='virtio'/>{devices}</devices>"
        f"</domain>"
    )
