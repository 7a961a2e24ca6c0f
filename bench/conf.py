"""How long a domain's document takes to be read and written, beside lxml alone.

    .venv/bin/python bench/conf.py

Prints medians of many rounds; the targets are 300 µs each way (DESIGN.md, "conf").
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Final

from lxml import etree

from conf.domain import format_domain, parse_domain

ROUNDS: Final = 400

#: What virt-install asks for: disk, cdrom, network, console, graphics, and their like.
ORDINARY: Final = """<domain type="kvm">
  <name>ordinary</name>
  <uuid>6d6f2b2e-56a7-4ba4-8d6e-0e0f3b0d2f11</uuid>
  <metadata>
    <libosinfo:libosinfo xmlns:libosinfo="http://libosinfo.org/xmlns/libvirt/domain/1.0">
      <libosinfo:os id="http://debian.org/debian/12"/>
    </libosinfo:libosinfo>
  </metadata>
  <memory>4194304</memory>
  <currentMemory>4194304</currentMemory>
  <vcpu>2</vcpu>
  <os><type arch="x86_64" machine="q35">hvm</type><boot dev="hd"/></os>
  <features><acpi/><apic/><vmport state="off"/></features>
  <cpu mode="host-passthrough"/>
  <clock offset="utc">
    <timer name="rtc" tickpolicy="catchup"/>
    <timer name="pit" tickpolicy="delay"/>
    <timer name="hpet" present="no"/>
  </clock>
  <pm><suspend-to-mem enabled="no"/><suspend-to-disk enabled="no"/></pm>
  <devices>
    <emulator>/usr/bin/qemu-system-x86_64</emulator>
    <disk type="file" device="disk">
      <driver name="qemu" type="qcow2" discard="unmap"/>
      <source file="/var/lib/libvirt/images/ordinary.qcow2"/>
      <target dev="vda" bus="virtio"/>
    </disk>
    <disk type="file" device="cdrom">
      <driver name="qemu" type="raw"/>
      <target dev="sda" bus="sata"/>
      <readonly/>
    </disk>
    <controller type="usb" model="qemu-xhci" ports="15"/>
    <controller type="pci" model="pcie-root"/>
    <controller type="pci" model="pcie-root-port"/>
    <controller type="pci" model="pcie-root-port"/>
    <controller type="pci" model="pcie-root-port"/>
    <controller type="pci" model="pcie-root-port"/>
    <interface type="network">
      <source network="default"/>
      <mac address="52:54:00:12:34:56"/>
      <model type="virtio"/>
    </interface>
    <console type="pty"/>
    <channel type="unix">
      <source mode="bind"/>
      <target type="virtio" name="org.qemu.guest_agent.0"/>
    </channel>
    <input type="tablet" bus="usb"/>
    <graphics type="vnc" port="-1"/>
    <video><model type="vga"/></video>
    <memballoon model="virtio"/>
    <rng model="virtio"><backend model="random">/dev/urandom</backend></rng>
  </devices>
</domain>
"""


def median_us(work: Callable[[], object]) -> float:
    """The median of many rounds, in microseconds."""
    taken = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        work()
        taken.append(time.perf_counter() - start)
    return statistics.median(taken) * 1e6


def main() -> None:
    """Measure and print."""
    domain = parse_domain(ORDINARY)
    written = format_domain(domain)
    raw = ORDINARY.encode()
    figures = {
        "lxml alone: parse": median_us(lambda: etree.fromstring(raw)),
        "parse_domain": median_us(lambda: parse_domain(ORDINARY)),
        "format_domain": median_us(lambda: format_domain(domain)),
        "both, as a redefinition": median_us(lambda: format_domain(parse_domain(written))),
    }
    for what, taken in figures.items():
        print(f"{what:26} {taken:8.1f} µs")


if __name__ == "__main__":
    main()
