"""A machine on a network: a namespace with one end of a cable, the other end is a port of a bridge.

Owns: the process that keeps the namespace, and the cable. May not touch: the network itself.
"""

from __future__ import annotations

import subprocess
from pathlib import Path
from types import TracebackType
from typing import Final

BUSYBOX: Final = "/usr/bin/busybox"
#: What udhcpc runs when it has a lease.
SCRIPT: Final = """#!/bin/sh
[ "$1" = bound ] || exit 0
ip addr add "$ip/$mask" dev "$interface"
[ -n "$router" ] && ip route add default via "$router"
[ -n "$dns" ] && echo "$dns" > '{dns}'
exit 0
"""


def run(*words: str) -> str:
    """Run a program that must succeed; what it printed."""
    done = subprocess.run(words, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, f"{' '.join(words)}: {done.stdout}{done.stderr}"
    return done.stdout


class Neighbour:
    """One machine; a context manager that leaves nothing behind."""

    def __init__(self, folder: Path, bridge: str, mac: str, name: str = "peer") -> None:
        self.mac = mac
        self.cable = f"{name}0"
        self._bridge = bridge
        self._dns = folder / f"{name}.dns"
        self._script = folder / f"{name}.sh"
        self._script.write_text(SCRIPT.format(dns=self._dns))
        self._script.chmod(0o755)
        self._keeper: subprocess.Popen[bytes] | None = None

    def run(self, *words: str) -> str:
        """Run a program on this machine."""
        assert self._keeper is not None, "it is used inside its context"
        return run("nsenter", "-t", str(self._keeper.pid), "-n", *words)

    def get_address(self) -> str:
        """Ask for an address by DHCP; the one it got."""
        udhcpc = (BUSYBOX, "udhcpc", "-i", "inside", "-n", "-q", "-f", "-t", "10", "-T", "1")
        self.run(*udhcpc, "-s", str(self._script), "-x", "hostname:peer")
        words = self.run("ip", "-4", "-o", "addr", "show", "dev", "inside").split()
        return words[words.index("inet") + 1].partition("/")[0]

    def resolve(self, name: str) -> str:
        """Ask the network's own name server; there are names without an IPv6 address, too."""
        return self._ask(BUSYBOX, "nslookup", name, self._dns.read_text().strip()).stdout

    def reaches(self, address: str) -> bool:
        """Whether an echo comes back."""
        return self._ask(BUSYBOX, "ping", "-c", "1", "-W", "2", address).returncode == 0

    def _ask(self, *words: str) -> subprocess.CompletedProcess[str]:
        assert self._keeper is not None, "it is used inside its context"
        return subprocess.run(
            ["nsenter", "-t", str(self._keeper.pid), "-n", *words],
            capture_output=True,
            text=True,
            timeout=10,
            check=False,
        )

    def __enter__(self) -> Neighbour:
        self._keeper = subprocess.Popen(
            ["unshare", "-n", "sh", "-c", "ip link set lo up; echo; exec sleep 300"],
            stdout=subprocess.PIPE,
        )
        assert self._keeper.stdout is not None
        self._keeper.stdout.readline()  # the namespace is there
        holder = str(self._keeper.pid)
        run(
            "ip",
            "link",
            "add",
            self.cable,
            "type",
            "veth",
            "peer",
            "name",
            "inside",
            "netns",
            holder,
        )
        run("ip", "link", "set", self.cable, "master", self._bridge, "up")
        self.run("ip", "link", "set", "inside", "address", self.mac, "up")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._keeper is not None
        self._keeper.kill()
        self._keeper.wait(5)
        if self._keeper.stdout is not None:
            self._keeper.stdout.close()
        subprocess.run(["ip", "link", "del", self.cable], capture_output=True, check=False)
