"""Benchmarks of net-start, net-destroy, attach-interface, and of netd's recovery with 50 networks.

    bench/networks.py [--stock SOCKET] [--networks N] [--taps N] [--rounds N]

Everything of ours happens in a network namespace of its own. With SOCKET, the same network is
started and stopped by a stock libvirtd that runs on this machine. It needs root.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import time
from typing import Any
from uuid import UUID, uuid4

from tests.clients.daemon import Daemon
from tests.clients.domains import idle
from tests.clients.libvirt_binding import libvirt
from tests.clients.namespace import own_network

NETWORK = (
    "<network><name>bench-{n}</name><forward mode='nat'/><bridge name='vvb{n}' delay='0'/>"
    "<ip address='10.88.{n}.1' netmask='255.255.255.0'><dhcp>"
    "<range start='10.88.{n}.2' end='10.88.{n}.254'/></dhcp></ip></network>"
)


INTERFACE = (
    "<interface type='network'><source network='{network}'/><model type='virtio'/></interface>"
)
MAX_INTERFACES = 20  # slots of the guest's bus


def start_and_stop(uri: str, rounds: int) -> tuple[float, float]:
    """The medians of starting and of stopping a NAT network, in ms."""
    link = libvirt.open(uri)
    network = link.networkDefineXML(NETWORK.format(n=250))
    starts, stops = [], []
    try:
        for _ in range(rounds):
            start_time = time.perf_counter()
            network.create()
            between = time.perf_counter()
            network.destroy()
            starts.append(between - start_time)
            stops.append(time.perf_counter() - between)
    finally:
        network.undefine()
        link.close()
    return 1000 * statistics.median(starts), 1000 * statistics.median(stops)


def attach(uri: str, rounds: int) -> float:
    """Return the median time of attaching an interface of a NAT network to a guest, in ms."""
    link = libvirt.open(uri)
    network = link.networkDefineXML(NETWORK.format(n=251))
    network.create()
    guest = link.createXML(idle("bench-attach"), 0)
    durations = []
    try:
        for _ in range(min(rounds, MAX_INTERFACES)):
            start_time = time.perf_counter()
            guest.attachDevice(INTERFACE.format(network=network.name()))
            durations.append(time.perf_counter() - start_time)
    finally:
        guest.destroy()
        network.destroy()
        network.undefine()
        link.close()
    return 1000 * statistics.median(durations)


def netd(daemon: Daemon) -> int:
    """Return the pid of netd; 0 while it does not run."""
    row = next(row for row in daemon.status() if row["name"] == "netd")
    return int(row["pid"]) if row["state"] == "running" else 0


def attach_tap(daemon: Daemon, network: Any, number: int) -> None:
    """Create a persistent tap and its port record, as of a running guest."""
    device, uuid = f"vnet{number}", str(uuid4())
    subprocess.run(["ip", "tuntap", "add", device, "mode", "tap"], check=True)
    subprocess.run(["ip", "link", "set", device, "master", network.bridgeName(), "up"], check=True)
    interface = (
        f"<interface type='network'><mac address='52:54:00:00:{number // 256:02x}:"
        f"{number % 256:02x}'/><source network='{network.name()}' portid='{uuid}' "
        f"bridge='{network.bridgeName()}'/><target dev='{device}'/></interface>"
    )
    record = {
        "device": device,
        "kind": "tap",
        "domain": f"guest{number}",
        "uuid": str(uuid4()),
        "mac": "",
        "interface": interface,
        "network": str(UUID(bytes=network.UUID())),
        "port": uuid,
        "bridge": network.bridgeName(),
    }
    folder = daemon.root / "run/libvirt/network/taps"
    (folder / f"{device}.json").write_text(json.dumps(record))


def recovery(daemon: Daemon, networks: int, taps: int) -> float:
    """Return the time from SIGKILL of netd until it answers again, in s."""
    link = libvirt.open(daemon.uri)
    defined = [link.networkDefineXML(NETWORK.format(n=n)) for n in range(networks)]
    for network in defined:
        network.create()
    for number in range(taps):
        attach_tap(daemon, defined[number % networks], number)
    os.kill(netd(daemon), signal.SIGKILL)
    start_time = time.perf_counter()
    assert link.numOfNetworks() == networks
    took = time.perf_counter() - start_time
    for network in defined:
        network.destroy()
        network.undefine()
    link.close()
    return took


def main() -> int:
    """Print the results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--stock", metavar="SOCKET")
    parser.add_argument("--networks", type=int, default=50)
    parser.add_argument("--taps", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=10)
    options = parser.parse_args()
    with own_network():
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        with Daemon() as daemon:
            start, stop = start_and_stop(daemon.uri, options.rounds)
            print(f"ours:  net-start {start:.0f} ms, net-destroy {stop:.0f} ms")
            print(f"ours:  attach-interface {attach(daemon.uri, options.rounds):.1f} ms")
            took = recovery(daemon, options.networks, options.taps)
            print(f"ours:  {options.networks} networks, {options.taps} taps: back in {took:.2f} s")
    if options.stock:
        uri = f"qemu+unix:///system?socket={options.stock}"
        start, stop = start_and_stop(uri, options.rounds)
        print(f"stock: net-start {start:.0f} ms, net-destroy {stop:.0f} ms")
        print(f"stock: attach-interface {attach(uri, options.rounds):.1f} ms")
    return 0


if __name__ == "__main__":
    sys.exit(main())
