"""Pinning in a domain's <cputune>, and what is forgotten with a thread. Pure.

Owns: <vcpupin>, <emulatorpin>, <iothreadpin>.
May touch: the domain it is given, in place; the caller owns it alone.
Source: libvirt 9.0 formatdomain, "CPU Tuning".
"""

from __future__ import annotations

from conf.domain.model import Domain
from conf.domain.tuning import Cputune, IoThreadPin, VcpuPin
from conf.errors import ConfError


def check_vcpu_pin(domain: Domain, vcpu: int, kind: str) -> None:
    """Refuse to pin a vcpu that there cannot be; `kind` is "live" or "persistent".

    Raises:
        ConfError: "invalid_arg"; of a definition the words have the number of enabled ones.
    """
    if vcpu >= domain.maximum_vcpus:
        count = domain.maximum_vcpus if kind == "live" else domain.current_vcpus
        raise ConfError("invalid_arg", f"vcpu {vcpu} is out of range of {kind} cpu count {count}")


def pin_vcpu(domain: Domain, vcpu: int, cpuset: str) -> None:
    """Pin a vcpu; the pins are listed by vcpu."""
    tune = domain.cputune = domain.cputune or Cputune()
    others = [pin for pin in tune.vcpupins if pin.vcpu != vcpu]
    tune.vcpupins = sorted([*others, VcpuPin(vcpu=vcpu, cpuset=cpuset)], key=lambda p: p.vcpu)


def pin_emulator(domain: Domain, cpuset: str) -> None:
    """Pin the emulator's own threads."""
    domain.cputune = domain.cputune or Cputune()
    domain.cputune.emulatorpin = cpuset


def pin_iothread(domain: Domain, iothread: int, cpuset: str) -> None:
    """Pin an iothread; the pins are listed in the order of the iothreads."""
    tune = domain.cputune = domain.cputune or Cputune()
    order = {thread.id: place for place, thread in enumerate(domain.iothread_list())}
    others = [pin for pin in tune.iothreadpins if pin.iothread != iothread]
    pins = [*others, IoThreadPin(iothread=iothread, cpuset=cpuset)]
    tune.iothreadpins = sorted(pins, key=lambda pin: order.get(pin.iothread, len(order)))
