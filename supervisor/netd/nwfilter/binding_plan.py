"""Plans the rules of a binding: its filter's, or those in force until an address is learned.

Owns: that decision. Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from conf.nwfilter import FilterBinding
from conf.nwfilter.model import Filter
from rpc.errors import ErrorCode, ErrorDomain, VirError
from supervisor.netd.nwfilter.address_learning import LearnedAddress, LearningMode
from supervisor.netd.nwfilter.packets import AddressEvent, LeaseGranted, LeaseReleased
from supervisor.netd.nwfilter.tap_plan import TapPlan, plan_learning, plan_tap, unresolved
from supervisor.netd.nwfilter.variables import unresolvable

MAX_ADDRESSES: Final = 64  # learned for one interface


@dataclass(frozen=True, slots=True)
class BindingPlan:
    """The chains of a tap, and how its guest's address is learned."""

    plan: TapPlan
    learning: LearningMode  # NONE: it need not be learned
    lease: LearnedAddress | None = None  # of the address in use


def plan_binding(
    binding: FilterBinding, learned: Sequence[str], find: Callable[[str], Filter | None]
) -> BindingPlan:
    """Plan the rules of a binding. Pure.

    Args:
        binding: the tap, its filter and variables.
        learned: addresses from traffic or DHCP.
        find: filters by name.

    Raises:
        VirError: INTERNAL_ERROR: a filter is missing, a variable has no value and none can be
            learned, a value does not fit; PARSE_FAILED: CTRL_IP_LEARNING is invalid.
    """
    variables = binding_variables(binding)
    absent = unresolved(binding.filter, variables, find)
    if any(access.name != "IP" or access.element for access in absent):
        raise unresolvable([access for access in absent if access.name != "IP" or access.element])
    if not absent:
        return BindingPlan(
            plan_tap(binding.tap, binding.filter, variables, find), LearningMode.NONE
        )
    mode = learning_mode(binding)
    if learned:
        known_variables: Mapping[str, tuple[str, ...]] = {**variables, "IP": tuple(learned)}
        plan = plan_tap(binding.tap, binding.filter, known_variables, find)
        return BindingPlan(
            plan, LearningMode.DHCP if mode is LearningMode.DHCP else LearningMode.NONE
        )
    if mode is LearningMode.NONE:
        raise unresolvable(absent)
    only = mode is LearningMode.DHCP
    servers = variables.get("DHCPSERVER", ()) if only else ()
    plan = plan_learning(binding.tap, binding.mac, dhcp_only=only, servers=servers)
    return BindingPlan(plan, mode)


def binding_variables(binding: FilterBinding) -> dict[str, tuple[str, ...]]:
    """Return the variables of a binding, with MAC. Pure."""
    return {"MAC": (binding.mac,), **binding.variables}


def learning_mode(binding: FilterBinding) -> LearningMode:
    """Read CTRL_IP_LEARNING; libvirt's default is ANY. Pure.

    Raises:
        VirError: PARSE_FAILED: not one of `LearningMode`.
    """
    value = binding.variables.get("CTRL_IP_LEARNING", (LearningMode.ANY,))[0]
    try:
        return LearningMode(value.lower())
    except ValueError:
        detail = f"filter '{binding.filter}' learning value '{value}' invalid."
        raise VirError(ErrorCode.PARSE_FAILED, detail, ErrorDomain.NWFILTER) from None


def update_addresses(learned: Sequence[str], event: AddressEvent) -> list[str]:
    """Return the addresses after an event; a DHCP lease replaces all others. Pure."""
    addresses = [address for address in learned if address != event.address]
    if isinstance(event, LeaseReleased):
        return addresses
    if isinstance(event, LeaseGranted):
        return [event.address]
    return [*addresses, event.address][-MAX_ADDRESSES:]
