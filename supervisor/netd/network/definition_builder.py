"""Builds network definitions from XML: parse, complete, validate, name the bridge.

Owns: that order, and the choice of bridges' names. May touch: links, to see which names are taken.
May not touch: files.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from conf.errors import ConfError
from conf.mapper import parse_root
from conf.network import Bridge, Network, complete, parse_network, validate
from rpc.errors import ErrorCode, ErrorDomain, VirError
from supervisor.dispatch.errors import from_conf_error
from supervisor.dispatch.schema import log_unknown
from supervisor.dispatch.service_errors import NETWORK_ERRORS
from supervisor.netd.kernel.netlink import Rtnetlink
from supervisor.netd.network.network import bridge_of
from supervisor.netd.network.plan import makes_bridge
from supervisor.netd.network.registry import NetworkRegistry
from supervisor.netd.network.virtual_functions import refuse_other_devices

PREFIX: Final = "virbr"
MAX_BRIDGES: Final = 1024


class DefinitionBuilder:
    """Builds network definitions."""

    def __init__(self, registry: NetworkRegistry, links: Rtnetlink, *, session: bool) -> None:
        self._registry = registry
        self._links = links
        self._session = session

    async def build(self, xml: str) -> Network:
        """Build a definition from a client's XML.

        Raises:
            VirError: those of the parser and the validation; CONFIG_UNSUPPORTED for a device that
                is no virtual function; INTERNAL_ERROR when its bridge is another network's.
        """
        network = read_network(xml)
        refuse_other_devices(network)
        log_unknown(f"network '{network.name}'", parse_root(Network, xml), Network)
        if not makes_bridge(network):
            return network
        self._refuse_taken(network)
        if needs_name(network):
            taken = {bridge_of(other) for other in self._others(network)}
            return with_bridge(
                network, choose_bridge_name(network, taken | await self._host_names())
            )
        return network

    async def _host_names(self) -> set[str]:
        if self._session:
            return set()  # nothing of a user's own daemon ever becomes a link
        try:
            return {link.name for link in await self._links.links()}
        except OSError as error:
            raise NETWORK_ERRORS.system_error("cannot list the host's links", error) from error

    def _others(self, network: Network) -> Iterable[Network]:
        for obj in self._registry:
            if obj.name == network.name:
                continue
            if obj.definition is not None:
                yield obj.definition
            if obj.runtime is not None:
                yield obj.runtime.network

    def _refuse_taken(self, network: Network) -> None:
        name = bridge_of(network)
        if needs_name(network) or name not in {bridge_of(other) for other in self._others(network)}:
            return
        detail = f"bridge name '{name}' already in use."
        raise VirError(ErrorCode.INTERNAL_ERROR, detail, ErrorDomain.NETWORK)


def read_network(xml: str) -> Network:
    """Parse, complete and validate a network.

    Raises:
        VirError: with libvirt's code for the error.
    """
    try:
        network = complete(parse_network(xml))
        validate(network)
    except ConfError as error:
        raise from_conf_error(error, ErrorDomain.NETWORK) from error
    return network


def with_bridge(network: Network, name: str) -> Network:
    """Return a copy of a network with this bridge name."""
    return replace(network, bridge=replace(network.bridge or Bridge(), name=name))


def needs_name(network: Network) -> bool:
    """Return whether the bridge has no name, or a pattern such as "br%d"."""
    name = bridge_of(network)
    return not name or "%d" in name


def choose_bridge_name(network: Network, taken: set[str]) -> str:
    """Choose a free name for the bridge.

    Raises:
        VirError: INTERNAL_ERROR: no name is free.
    """
    pattern = bridge_of(network) or f"{PREFIX}%d"
    for number in range(MAX_BRIDGES):
        name = pattern.replace("%d", str(number))
        if name not in taken:
            return name
    detail = f"there are {MAX_BRIDGES} bridges named {pattern} already; give the network a name"
    raise VirError(ErrorCode.INTERNAL_ERROR, detail, ErrorDomain.NETWORK)
