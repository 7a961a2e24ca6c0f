"""Which of a domain's vcpus are enabled, and what setting their number makes of that. Pure.

Owns: <vcpus>, <vcpu current=> and what goes with a vcpu that is no more.
May touch: the domain it is given, in place; the caller owns it alone.
Source: libvirt 9.0, virDomainSetVcpusFlags and virDomainSetVcpu, measured.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace

from conf.domain.model import Domain
from conf.domain.tuning import Vcpu, VcpuState
from conf.errors import ConfError
from conf.types.cpuset import parse_cpuset


@dataclass(frozen=True, slots=True)
class VcpuSelection:
    """The vcpus that are to be plugged or unplugged, in that order."""

    enable: bool
    numbers: list[int]


def vcpu_states(domain: Domain) -> list[VcpuState]:
    """List every vcpu there can be; without <vcpus>, the first ones are enabled, for good."""
    if domain.vcpus:
        return [replace(state) for state in domain.vcpus]
    enabled = domain.current_vcpus
    return [
        VcpuState(id=number, enabled=number < enabled, hotpluggable=number >= enabled)
        for number in range(domain.maximum_vcpus)
    ]


def enabled_vcpus(domain: Domain) -> list[int]:
    """List the vcpus that are enabled."""
    if not domain.vcpus:
        return list(range(domain.current_vcpus))
    return [state.id for state in domain.vcpus if state.enabled]


def started_vcpus(domain: Domain) -> int:
    """Count the vcpus that an emulator is started with: the enabled ones that stay."""
    if not domain.vcpus:
        return domain.current_vcpus
    return sum(state.enabled and not state.hotpluggable for state in domain.vcpus)


def vcpus_to_plug(domain: Domain) -> list[int]:
    """List the enabled vcpus that are plugged before a guest runs, by their order."""
    plugged = [state for state in domain.vcpus if state.enabled and state.hotpluggable]
    return [state.id for state in sorted(plugged, key=lambda state: state.order or 0)]


def check_count(domain: Domain, count: int, kind: str) -> None:
    """Refuse more vcpus than there can be; `kind` is "live" or "persistent".

    Raises:
        ConfError: "invalid_arg".
    """
    if count > domain.maximum_vcpus:
        detail = (
            f"requested vcpus is greater than max allowable vcpus for the {kind} domain: "
            f"{count} > {domain.maximum_vcpus}"
        )
        raise ConfError("invalid_arg", detail)


def check_present(domain: Domain, numbers: Collection[int], kind: str) -> None:
    """Refuse vcpus that there cannot be; `kind` is "live" or "persistent".

    Raises:
        ConfError: "invalid_arg".
    """
    last = max(numbers)
    if last >= domain.maximum_vcpus:
        raise ConfError("invalid_arg", f"vcpu {last} is not present in {kind} config")


# The definition.


def set_vcpu_count(domain: Domain, count: int, *, hotpluggable: bool) -> None:
    """Enable the first vcpus that are not, or disable the last that are.

    Args:
        domain: the definition.
        count: how many are to be enabled.
        hotpluggable: those that become enabled can be unplugged later.
    """
    listed = bool(domain.vcpus)
    states = vcpu_states(domain)
    missing = count - sum(state.enabled for state in states)
    for state in states:
        if missing > 0 and not state.enabled:
            state.enabled, state.hotpluggable = True, hotpluggable
            listed |= hotpluggable
            missing -= 1
    for state in reversed(states):
        if missing < 0 and state.enabled:
            state.enabled, state.hotpluggable = False, True
            missing += 1
    _store(domain, states, listed=listed)


def set_vcpu_maximum(domain: Domain, maximum: int) -> None:
    """Set how many vcpus there can be; those beyond are forgotten, with their tuning.

    Raises:
        ConfError: "invalid_arg": the topology has another number of places.
    """
    topology = domain.cpu.topology if domain.cpu else None
    if topology is not None:
        places = topology.sockets * topology.dies * topology.cores * topology.threads
        if places != maximum:
            raise ConfError("invalid_arg", "CPU topology doesn't match the desired vcpu count")
    listed = bool(domain.vcpus)
    states = vcpu_states(domain)[:maximum]
    states += [VcpuState(id=number) for number in range(len(states), maximum)]
    vcpu = domain.vcpu = domain.vcpu or Vcpu()
    vcpu.maximum = maximum
    if domain.cputune is not None:
        tune = domain.cputune
        tune.vcpupins = [pin for pin in tune.vcpupins if pin.vcpu < maximum]
        tune.vcpuscheds = [s for s in tune.vcpuscheds if min(parse_cpuset(s.vcpus)) < maximum]
    _store(domain, states, listed=listed)


def check_vcpus_to_set(domain: Domain, numbers: Collection[int]) -> None:
    """Refuse to set vcpus of a definition that have to stay as they are.

    Raises:
        ConfError: "invalid_arg".
    """
    if 0 in numbers:
        raise ConfError("invalid_arg", "vCPU '0' can't be modified")
    first = min(numbers)
    for state in vcpu_states(domain)[first + 1 :]:
        if state.id not in numbers and state.enabled and not state.hotpluggable:
            detail = (
                f"vcpu '{first}' can't be modified as it is followed by non-hotpluggable online "
                "vcpus"
            )
            raise ConfError("invalid_arg", detail)


def set_vcpus(domain: Domain, numbers: Collection[int], *, enabled: bool) -> None:
    """Enable or disable these vcpus of a definition; they can be unplugged from now on."""
    states = vcpu_states(domain)
    for state in states:
        if state.id in numbers:
            state.enabled, state.hotpluggable = enabled, True
    _store(domain, states, listed=True)


def _store(domain: Domain, states: list[VcpuState], *, listed: bool) -> None:
    """Keep the states; their order may have become wrong, so that is forgotten."""
    for state in states:
        state.order = None
    domain.vcpus = states if listed else []
    _count(domain, sum(state.enabled for state in states))


def _count(domain: Domain, enabled: int) -> None:
    vcpu = domain.vcpu = domain.vcpu or Vcpu()
    vcpu.current = None if enabled == vcpu.maximum else enabled


# The running guest.


def select_for_count(domain: Domain, count: int, sizes: Mapping[int, int]) -> VcpuSelection:
    """Select which vcpus to plug or unplug to get to a number of them.

    Args:
        domain: the running guest's.
        count: how many it is to have.
        sizes: how many vcpus come and go with each one that can (a core's threads, on POWER).

    Raises:
        ConfError: "config_unsupported": there are none that do.
    """
    states = vcpu_states(domain)
    current = sum(state.enabled for state in states)
    enable = count > current
    selected = []
    for state in states if enable else reversed(states):
        if current == count:
            break
        size = sizes.get(state.id, 0)
        if not size or state.enabled is enable or not (enable or state.hotpluggable):
            continue
        current += size if enable else -size
        if (current > count) if enable else (current < count):
            detail = "target vm vcpu granularity does not allow the desired vcpu count"
            raise ConfError("config_unsupported", detail)
        selected.append(state.id)
    if current != count:
        detail = (
            "failed to find appropriate hotpluggable vcpus to reach the desired target vcpu count"
        )
        raise ConfError("config_unsupported", detail)
    return VcpuSelection(enable, selected)


def select_vcpus(
    domain: Domain, numbers: Collection[int], sizes: Mapping[int, int], *, enabled: bool
) -> VcpuSelection:
    """Select the one vcpu, with those that come and go with it, that a client named.

    Raises:
        ConfError: "invalid_arg": it is in that state; "operation_unsupported": it cannot be
            unplugged, or there are several.
    """
    states = {state.id: state for state in vcpu_states(domain)}
    for number in sorted(numbers):
        state = states[number]
        if state.enabled is enabled:
            raise ConfError("invalid_arg", f"vcpu '{number}' is already in requested state")
        if state.enabled and not state.hotpluggable:
            raise ConfError("operation_unsupported", f"vcpu '{number}' can't be unplugged")
    first = min(numbers)
    if set(numbers) != set(range(first, first + sizes.get(first, 1))):
        detail = "only one hotpluggable entity can be selected"
        raise ConfError("operation_unsupported", detail)
    return VcpuSelection(enabled, [first])


def mark_plugged(domain: Domain, numbers: Iterable[int]) -> None:
    """Record that vcpus of the running guest were plugged, in this order."""
    states = _ordered(domain)
    last = max((state.order or 0 for state in states), default=0)
    for number in numbers:
        last += 1
        state = states[number]
        state.enabled, state.hotpluggable, state.order = True, True, last
    domain.vcpus = states
    _count(domain, sum(state.enabled for state in states))


def mark_unplugged(domain: Domain, numbers: Collection[int]) -> None:
    """Record that vcpus of the running guest were unplugged."""
    states = _ordered(domain)
    for number in numbers:
        states[number].enabled, states[number].order = False, None
    domain.vcpus = states
    # QEMU numbers the vcpus that are left anew.
    remaining = sorted((s for s in states if s.enabled), key=lambda state: state.order or 0)
    for place, state in enumerate(remaining, 1):
        state.order = place
    _count(domain, len(remaining))


def _ordered(domain: Domain) -> list[VcpuState]:
    """List the states; where none has an order, it is that of their numbers."""
    states = vcpu_states(domain)
    enabled = [state for state in states if state.enabled]
    if any(state.order is None for state in enabled):
        for place, state in enumerate(enabled, 1):
            state.order = place
    return states
