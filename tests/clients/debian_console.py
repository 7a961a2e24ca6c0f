"""A Debian container and stock virsh at its console, as a person would use it.

Owns: the terminal that virsh is at; the network of its interface.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from typing import Final

import pexpect

from tests.clients.container_daemon import Boxes
from tests.clients.containers import lxc_uri
from tests.clients.daemon import PATIENCE, VIRSH
from tests.clients.debian_root import PASSWORD

#: How long the slowest step may take: the boot.
BOOT_S: Final = 30 * PATIENCE
NETWORK: Final = """<network><name>nat</name><forward mode='nat'/>
<bridge name='virbr8' stp='off' delay='0'/>
<ip address='10.88.0.1' netmask='255.255.255.0'>
<dhcp><range start='10.88.0.10' end='10.88.0.20'/></dhcp></ip></network>"""
INTERFACE: Final = "<interface type='network'><source network='nat'/></interface>"
PASTE_END: Final = "\x1b[?2004l"  # bash tells terminals when it reads
PROMPT: Final = "root@[^ ]*:~# "


@contextlib.contextmanager
def login(box: Boxes, name: str = "debian") -> Iterator[pexpect.spawn[str]]:
    """Stock virsh at a container's console, as its root; it logs out and leaves in the end."""
    words = ["-c", lxc_uri(box.daemon), "console", name]
    terminal = pexpect.spawn(VIRSH, words, timeout=BOOT_S, encoding="utf-8")
    try:
        terminal.expect("Escape character")
        terminal.send("\r")
        terminal.expect("login: ")
        terminal.sendline("root")
        terminal.expect("Password: ")
        terminal.sendline(PASSWORD)
        terminal.expect(PROMPT)
        yield terminal
        terminal.sendline("exit")
        terminal.expect("login: ")
        terminal.send("\x1d")
        terminal.expect(pexpect.EOF)
    finally:
        terminal.close(force=True)


def run_command(console: pexpect.spawn[str], command: str) -> str:
    """What a command says at the console."""
    console.sendline(f"{command}; echo en''d")
    console.expect("end\r+\n")
    words = str(console.before).partition("\n")[2].replace(PASTE_END, "").replace("\r", "")
    console.expect(PROMPT)
    return words


def failed(console: pexpect.spawn[str]) -> list[str]:
    """The units that failed, once all of the boot is over."""
    run_command(console, "systemctl is-system-running --wait")
    rows = run_command(console, "systemctl --failed --plain --no-legend --no-pager").splitlines()
    return [row.split()[0] for row in rows if row]


def addresses(console: pexpect.spawn[str]) -> list[str]:
    """What the container's card has from the network's DHCP."""
    return re.findall(r"inet (10\.88\.0\.\d+)/24", run_command(console, "ip -4 address show eth0"))
