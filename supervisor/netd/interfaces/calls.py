"""virInterface calls.

Owns: one method per procedure, named as in the table; one change at a time.
May touch: links and definitions of interfaces, each through its own module.
Source: libvirt 9.0 virInterface*. An interface is active when its link is up; the others that are
known are defined here, or links that are down.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterator
from typing import Final, TypeVar

from conf.errors import ConfError
from conf.interface import HostInterface, InterfaceType, format_interface, parse_interface
from rpc.enums import ConnectListAllInterfacesFlags as Flags
from rpc.enums import InterfaceDefineFlags, InterfaceXMLFlags
from rpc.errors import ErrorCode, ErrorDomain, VirError
from rpc.values import Interface as InterfaceId
from supervisor.dispatch.dispatcher import ClientCall
from supervisor.dispatch.errors import from_conf_error
from supervisor.dispatch.schema import require_valid
from supervisor.dispatch.service_errors import INTERFACE_ERRORS
from supervisor.netd.interfaces.interface_files import InterfaceFiles
from supervisor.netd.interfaces.plan import AddGateway, InterfaceStep, plan_interface
from supervisor.netd.interfaces.step_executor import InterfaceStepExecutor
from supervisor.netd.kernel.netlink import Link, Rtnetlink
from supervisor.netd.network.step_executor import run_steps
from supervisor.netd.network.steps import AddAddress
from supervisor.objects.change_lock import ChangeLock
from supervisor.objects.listing import ListFilter, either
from supervisor.runtime.shield import run_to_completion

FILTER: Final[ListFilter[tuple[str, str, bool]]] = ListFilter(
    either(Flags.ACTIVE, Flags.INACTIVE, lambda interface: interface[2])
)
DISK_S: Final = 20.0
NO_MAC: Final = ""

R = TypeVar("R")

log = logging.getLogger(__name__)


class InterfaceCalls:
    """The calls."""

    def __init__(
        self, links: Rtnetlink, host: InterfaceStepExecutor, files: InterfaceFiles, *, session: bool
    ) -> None:
        self._links = links
        self._host = host
        self._files = files
        self._session = session
        self._lock = ChangeLock("the host's interfaces", INTERFACE_ERRORS)

    # Lists and lookups.

    async def connect_num_of_interfaces(self, call: ClientCall) -> int:
        """Count the active interfaces."""
        return len([interface for interface in await self._list() if interface[2]])

    async def connect_list_interfaces(self, call: ClientCall, maxnames: int) -> list[str]:
        """List the names of active interfaces."""
        return [name for name, _, up in await self._list() if up][: max(0, maxnames)]

    async def connect_num_of_defined_interfaces(self, call: ClientCall) -> int:
        """Count the inactive interfaces."""
        return len([interface for interface in await self._list() if not interface[2]])

    async def connect_list_defined_interfaces(self, call: ClientCall, maxnames: int) -> list[str]:
        """List the names of inactive interfaces."""
        return [name for name, _, up in await self._list() if not up][: max(0, maxnames)]

    async def connect_list_all_interfaces(
        self, call: ClientCall, need_results: int, flags: int
    ) -> tuple[list[InterfaceId], int]:
        """List the interfaces that match the flags."""
        INTERFACE_ERRORS.check_flags("interfaceConnectListAllInterfaces", flags, FILTER.flags)
        selected = FILTER.select(await self._list(), flags)
        interfaces = [InterfaceId(name, mac) for name, mac, _ in selected]
        return interfaces if need_results else [], len(interfaces)

    async def interface_lookup_by_name(self, call: ClientCall, name: str) -> InterfaceId:
        """Look up an interface by name.

        Raises:
            VirError: NO_INTERFACE.
        """
        mac = next((mac for name_listed, mac, _ in await self._list() if name_listed == name), None)
        if mac is None:
            raise no_interface(f"couldn't find interface named '{name}'")
        return InterfaceId(name, mac)

    async def interface_lookup_by_mac_string(self, call: ClientCall, mac: str) -> InterfaceId:
        """Look up an interface by MAC address.

        Raises:
            VirError: NO_INTERFACE, MULTIPLE_INTERFACES.
        """
        matches = [
            interface for interface in await self._list() if interface[1].lower() == mac.lower()
        ]
        if not matches:
            raise no_interface(f"couldn't find interface with MAC address '{mac}'")
        if len(matches) > 1:
            detail = f"multiple interfaces with matching MAC address '{mac}'"
            raise VirError(ErrorCode.MULTIPLE_INTERFACES, detail, ErrorDomain.INTERFACE)
        return InterfaceId(matches[0][0], matches[0][1])

    async def interface_get_xml_desc(self, call: ClientCall, iface: InterfaceId, flags: int) -> str:
        """Return an interface's live XML or definition.

        Raises:
            VirError: NO_INTERFACE.
        """
        INTERFACE_ERRORS.check_flags("interfaceGetXMLDesc", flags, InterfaceXMLFlags.INACTIVE)
        link = await self._link(iface.name)
        defined = await self._disk(lambda: self._files.load().get(iface.name))
        if defined is not None and (link is None or flags & InterfaceXMLFlags.INACTIVE):
            return format_interface(defined, inactive=True)
        if link is None:
            raise no_interface(f"couldn't find interface named '{iface.name}'")
        with kernel("describe", iface.name):
            described = await self._host.describe(link)
        return format_interface(described, inactive=bool(flags & InterfaceXMLFlags.INACTIVE))

    async def interface_is_active(self, call: ClientCall, iface: InterfaceId) -> int:
        """Return whether an interface is up."""
        is_up = next((up for name, _, up in await self._list() if name == iface.name), None)
        if is_up is None:
            raise no_interface(f"couldn't find interface named '{iface.name}'")
        return int(is_up)

    # Changes.

    async def interface_define_xml(self, call: ClientCall, xml: str, flags: int) -> InterfaceId:
        """Define or redefine an interface; the active one does not change."""
        INTERFACE_ERRORS.check_flags("interfaceDefineXML", flags, InterfaceDefineFlags.VALIDATE)
        self._refuse_session("defining a host interface")
        validate = flags & InterfaceDefineFlags.VALIDATE
        await require_valid(xml, "interface.rng", HostInterface, validate)
        try:
            interface = parse_interface(xml)
        except ConfError as error:
            raise from_conf_error(error, ErrorDomain.INTERFACE) from error
        async with self._lock.hold("define"):
            await run_to_completion(self._disk(lambda: self._files.save(interface)))
        return InterfaceId(interface.known_name, interface.mac or NO_MAC)

    async def interface_undefine(self, call: ClientCall, iface: InterfaceId) -> None:
        """Delete an interface's definition.

        Raises:
            VirError: NO_INTERFACE when it has none.
        """
        self._refuse_session("undefining a host interface")
        async with self._lock.hold("undefine"):
            await self._definition(iface.name)
            await run_to_completion(self._disk(lambda: self._files.remove(iface.name)))

    async def interface_create(self, call: ClientCall, iface: InterfaceId, flags: int) -> None:
        """Start a defined interface; on failure all steps are undone.

        Raises:
            VirError: NO_INTERFACE; OPERATION_INVALID when it is up; CONFIG_UNSUPPORTED;
                SYSTEM_ERROR.
        """
        INTERFACE_ERRORS.check_flags("interfaceCreate", flags)
        self._refuse_session("starting a host interface")
        async with self._lock.hold("create"):
            interface = await self._definition(iface.name)
            link = await self._link(iface.name)
            if link is not None and link.up:
                detail = f"interface '{iface.name}' is already active"
                raise VirError(ErrorCode.OPERATION_INVALID, detail, ErrorDomain.INTERFACE)
            plan = plan_interface(interface)
            await run_to_completion(run_steps(plan, self._host.do, self._host.undo))

    async def interface_destroy(self, call: ClientCall, iface: InterfaceId, flags: int) -> None:
        """Stop an interface; a defined bridge, bond or VLAN is deleted.

        Raises:
            VirError: NO_INTERFACE; OPERATION_INVALID when it is down.
        """
        INTERFACE_ERRORS.check_flags("interfaceDestroy", flags)
        self._refuse_session("stopping a host interface")
        async with self._lock.hold("destroy"):
            link = await self._link(iface.name)
            defined = (await self._disk(self._files.load)).get(iface.name)
            if link is None and defined is None:
                raise no_interface(f"couldn't find interface named '{iface.name}'")
            if link is None or not link.up:
                detail = f"interface '{iface.name}' is not active"
                raise VirError(ErrorCode.OPERATION_INVALID, detail, ErrorDomain.INTERFACE)
            await run_to_completion(self._bring_down(link, defined))

    async def _bring_down(self, link: Link, defined: HostInterface | None) -> None:
        if defined is None:
            with kernel("bring down", link.name):
                await self._links.set_link(link.name, state="down")
            return
        for step in reversed(undoable(defined)):
            await self._host.undo(step)
        if defined.type is InterfaceType.ETHERNET:
            with kernel("bring down", link.name):
                await self._links.set_link(link.name, state="down")

    # A change that can be taken back.

    async def interface_change_begin(self, call: ClientCall, flags: int) -> None:
        """Save all definitions for a rollback.

        Raises:
            VirError: OPERATION_INVALID when a change has begun already.
        """
        INTERFACE_ERRORS.check_flags("interfaceChangeBegin", flags)
        self._refuse_session("changing host interfaces")
        async with self._lock.hold("change begin"):
            if await self._disk(self._files.is_changing):
                detail = "a change of interfaces has begun already: commit it or roll it back first"
                raise VirError(ErrorCode.OPERATION_INVALID, detail, ErrorDomain.INTERFACE)
            await run_to_completion(self._disk(self._files.change_begin))

    async def interface_change_commit(self, call: ClientCall, flags: int) -> None:
        """Delete the definitions saved for a rollback.

        Raises:
            VirError: OPERATION_INVALID when none has begun.
        """
        INTERFACE_ERRORS.check_flags("interfaceChangeCommit", flags)
        self._refuse_session("changing host interfaces")
        async with self._lock.hold("change commit"):
            await self._need_change()
            await run_to_completion(self._disk(self._files.change_commit))

    async def interface_change_rollback(self, call: ClientCall, flags: int) -> None:
        """Restore the saved definitions and restart the interfaces that changed.

        Raises:
            VirError: OPERATION_INVALID when no change has begun; SYSTEM_ERROR.
        """
        INTERFACE_ERRORS.check_flags("interfaceChangeRollback", flags)
        self._refuse_session("changing host interfaces")
        async with self._lock.hold("change rollback"):
            await self._need_change()
            await run_to_completion(self._roll_back())

    async def _roll_back(self) -> None:
        before = await self._disk(self._files.load_previous)
        now = await self._disk(self._files.load)
        for name, interface in now.items():
            if before.get(name) == interface:
                continue
            link = await self._link(name)
            was_up = link is not None and link.up
            if link is not None and was_up:
                await self._bring_down(link, interface)
            previous = before.get(name)
            if previous is None:
                await self._disk(lambda name=name: self._files.remove(name))  # type: ignore[misc]
                continue
            await self._restore(previous)
            if was_up:
                await run_steps(plan_interface(previous), self._host.do, self._host.undo)
        for name in before.keys() - now.keys():
            await self._restore(before[name])
        await self._disk(self._files.change_commit)

    async def _restore(self, interface: HostInterface) -> None:
        await self._disk(lambda: self._files.save(interface))

    async def _need_change(self) -> None:
        if not await self._disk(self._files.is_changing):
            detail = "no change of interfaces has begun; begin one with iface-begin"
            raise VirError(ErrorCode.OPERATION_INVALID, detail, ErrorDomain.INTERFACE)

    async def start_with_host(self) -> None:
        """Start the interfaces with <start mode='onboot'>; failures are logged."""
        for name, interface in (await self._disk(self._files.load)).items():
            if interface.start_mode != "onboot":
                continue
            try:
                async with self._lock.hold("start with the host"):
                    link = await self._link(name)
                    if link is None or not link.up:
                        plan = plan_interface(interface)
                        await run_steps(plan, self._host.do, self._host.undo)
            except VirError as error:
                log.error("interface '%s' does not start with the host: %s", name, error)

    # Lookup.

    async def _list(self) -> list[tuple[str, str, bool]]:
        """List name, MAC address and activity of every interface."""
        with kernel("list", "interfaces"):
            links = {link.name: link for link in await self._links.links()}
        defined = await self._disk(self._files.load)
        interfaces = [(link.name, link.mac, link.up) for link in links.values()]
        interfaces += [
            (name, interface.mac or NO_MAC, False)
            for name, interface in defined.items()
            if name not in links
        ]
        return interfaces

    async def _link(self, name: str) -> Link | None:
        with kernel("look for", name):
            return await self._links.find(name)

    async def _definition(self, name: str) -> HostInterface:
        definition = (await self._disk(self._files.load)).get(name)
        if definition is None:
            raise no_interface(f"interface '{name}' is not defined; define it with iface-define")
        return definition

    async def _disk(self, work: Callable[[], R]) -> R:
        try:
            async with asyncio.timeout(DISK_S):
                return await asyncio.to_thread(work)
        except TimeoutError as error:
            detail = f"the disk did not take the definition of an interface in {DISK_S:.0f} s"
            raise VirError(ErrorCode.OPERATION_TIMEOUT, detail, ErrorDomain.INTERFACE) from error
        except OSError as error:
            detail = f"cannot store the definition of an interface: {error}"
            raise VirError(ErrorCode.SYSTEM_ERROR, detail, ErrorDomain.INTERFACE) from error

    def _refuse_session(self, action: str) -> None:
        if self._session:
            detail = f"{action} needs the system daemon: connect to qemu:///system"
            raise VirError(ErrorCode.OPERATION_DENIED, detail, ErrorDomain.INTERFACE)


def undoable(interface: HostInterface) -> list[InterfaceStep]:
    """Return the steps to undo when an interface stops; of hardware only the addresses."""
    steps = plan_interface(interface)
    if interface.type is InterfaceType.ETHERNET:
        return [step for step in steps if isinstance(step, AddAddress | AddGateway)]
    return steps


@contextlib.contextmanager
def kernel(action: str, name: str) -> Iterator[None]:
    """Convert OSError to SYSTEM_ERROR."""
    try:
        yield
    except TimeoutError as error:
        detail = f"the kernel did not {action} '{name}' in time"
        raise VirError(ErrorCode.OPERATION_TIMEOUT, detail, ErrorDomain.INTERFACE) from error
    except OSError as error:
        detail = f"cannot {action} '{name}': {error.strerror or error}"
        raise VirError(ErrorCode.SYSTEM_ERROR, detail, ErrorDomain.INTERFACE) from error


def no_interface(detail: str) -> VirError:
    """NO_INTERFACE: no interface has this name or MAC address."""
    return VirError(ErrorCode.NO_INTERFACE, detail, ErrorDomain.INTERFACE)
