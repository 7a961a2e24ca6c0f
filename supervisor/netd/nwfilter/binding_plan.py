"""What a binding needs now: its filter's chains, or those that stand while an address is learned.

Owns: that decision. Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from conf.nwfilter import FilterBinding
from conf.nwfilter.model import Filter
from rpc.errors import ErrorCode, ErrorDomain, VirError
from supervisor.netd.nwfilter.address_learning import How, Lease
from supervisor.netd.nwfilter.packets import Leased, Released, Told
from supervisor.netd.nwfilter.tap_plan import TapPlan, plan_learning, plan_tap, unresolved
from supervisor.netd.nwfilter.variables import unresolvable

MAX_ADDRESSES: Final = 64  # learned of one card


@dataclass(frozen=True, slots=True)
class Needed:
    """A tap's chains, and whether somebody has to listen on it."""

    plan: TapPlan
    listen: How  # NONE: nobody
    lease: Lease | None = None  # what ends while they listen


def needed(
    binding: FilterBinding, learned: Sequence[str], find: Callable[[str], Filter | None]
) -> Needed:
    """Decide. Pure.

    Args:
        binding: the tap, its filter and variables.
        learned: the addresses that are known without having been said.
        find: filters by name.

    Raises:
        VirError: INTERNAL_ERROR: a filter is missing, a variable has no value and none can be
            learned, a value does not fit; PARSE_FAILED: CTRL_IP_LEARNING is invalid.
    """
    said = variables_of(binding)
    absent = unresolved(binding.filter, said, find)
    if any(access.name != "IP" or access.element for access in absent):
        raise unresolvable([access for access in absent if access.name != "IP" or access.element])
    if not absent:
        return Needed(plan_tap(binding.tap, binding.filter, said, find), How.NONE)
    how = learning_of(binding)
    if learned:
        known: Mapping[str, tuple[str, ...]] = {**said, "IP": tuple(learned)}
        plan = plan_tap(binding.tap, binding.filter, known, find)
        return Needed(plan, How.DHCP if how is How.DHCP else How.NONE)
    if how is How.NONE:
        raise unresolvable(absent)
    only = how is How.DHCP
    servers = said.get("DHCPSERVER", ()) if only else ()
    plan = plan_learning(binding.tap, binding.mac, dhcp_only=only, servers=servers)
    return Needed(plan, how)


def variables_of(binding: FilterBinding) -> dict[str, tuple[str, ...]]:
    """The variables of a binding, the guest's MAC address among them. Pure."""
    return {"MAC": (binding.mac,), **binding.variables}


def learning_of(binding: FilterBinding) -> How:
    """Read CTRL_IP_LEARNING; libvirt's default is ANY. Pure.

    Raises:
        VirError: PARSE_FAILED: not one of `How`.
    """
    value = binding.variables.get("CTRL_IP_LEARNING", (How.ANY,))[0]
    try:
        return How(value.lower())
    except ValueError:
        detail = f"filter '{binding.filter}' learning value '{value}' invalid."
        raise VirError(ErrorCode.PARSE_FAILED, detail, ErrorDomain.NWFILTER) from None


def after(learned: Sequence[str], told: Told) -> list[str]:
    """The addresses known after something was learned; a lease is the only one. Pure."""
    known = [address for address in learned if address != told.address]
    if isinstance(told, Released):
        return known
    if isinstance(told, Leased):
        return [told.address]
    return [*known, told.address][-MAX_ADDRESSES:]
