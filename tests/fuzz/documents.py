"""What is done with a client's document, from reading it to planning what it asks for.

Owns: the order in which each kind's functions are called, as their services do. Nothing of the host
is touched. Refusals are `ConfError` and `VirError`; anything else is a finding.
"""

from __future__ import annotations

import asyncio
import difflib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Final

from conf.domain import Domain, format_domain, parse_domain
from conf.domain.addresses.assign import assign_addresses
from conf.domain.defaults import complete
from conf.domain.device_list import check_persistent_attach
from conf.domain.device_xml import devices_of, parse_device, set_devices
from conf.domain.migratable import format_migratable
from conf.domain.os_defaults import complete_nvram
from conf.emulator import EmulatorFacts
from conf.errors import ConfError
from conf.interface import format_interface, parse_interface
from conf.mapper import parse_root
from conf.native.lxc import domain_xml_of
from conf.network import format_network
from conf.network.update import update_network
from conf.nwfilter import format_filter, parse_filter, stock_filters
from conf.nwfilter.binding import format_binding, parse_binding
from conf.schema import unknown_parts
from conf.secret import format_secret, parse_secret
from conf.snapshot.align import align_disks
from conf.snapshot.model import SnapshotLocation
from conf.snapshot.snapshot_xml import format_stored, parse_snapshot, parse_stored
from conf.storage import PoolType, format_pool, format_volume
from rpc.errors import VirError
from supervisor.domd.definition_builder import DefinitionBuilder, LxcCompletion
from supervisor.domd.metadata_xml import changed_field, read_metadata
from supervisor.hostd.calls.node_device import cannot_be_made
from supervisor.hostd.cpu.cpu_xml import read_cpu
from supervisor.netd.dnsmasq.config import plan_config as plan_dnsmasq
from supervisor.netd.dnsmasq.process import DnsmasqPaths
from supervisor.netd.firewall.nft_plan import plan_install
from supervisor.netd.interfaces.plan import plan_interface
from supervisor.netd.network.definition_builder import needs_name, read_network, with_bridge
from supervisor.netd.network.plan import firewall_facts, makes_bridge, plan_start
from supervisor.netd.nwfilter.binding_plan import plan_binding
from supervisor.netd.nwfilter.tap_plan import plan_tap
from supervisor.stord.pool_xml import parse_pool_xml, parse_volume_xml
from supervisor.workers.lxc.config import plan_config as plan_container
from supervisor.workers.lxc.config.host_facts import HostFacts, LxcInterface
from supervisor.workers.lxc.config.mounts import node_paths
from supervisor.workers.qemu.aliases import assign_aliases
from supervisor.workers.qemu.argv.launch import plan_launch
from supervisor.workers.qemu.start.unsupported import check_supported
from tests import qemu_binary
from tests.unit.workers.qemu.argv.argv_plan import runtime

SECTIONS: Final = 13  # virNetworkUpdateSection
COMMANDS: Final = 4
OWNER: Final = "10010203-0405-0607-0809-0a0b0c0d0e0f"
FILES: Final = DnsmasqPaths.for_network(Path("/d"), Path("/s"), "n", "virbr7")
STOCK: Final = {name: parse_filter(xml) for name, xml in stock_filters().items()}
BASE: Final = """<domain type='qemu'><name>base</name><memory>65536</memory>
<os><type arch='x86_64' machine='pc'>hvm</type></os><devices/></domain>"""


class NotReadBackError(Exception):
    """A definition was accepted that is refused, or differs, when it is read again."""


class FactsCompletion:
    """The QEMU driver's defaults, with what this machine's QEMU can do."""

    async def complete(self, domain: Domain, size: int, *, validate: bool = True) -> Domain:
        """Complete a domain as domd does."""
        if domain.os.type is not None and domain.os.type.arch is None:
            domain.os.type.arch = "x86_64"
        check_emulator(domain)
        complete(domain, emulator(), validate=validate)
        complete_nvram(domain.os, "/nvram")
        return domain

    def invalidate(self) -> None:
        """Nothing is cached."""


@cache
def emulator() -> EmulatorFacts:
    """Return what this machine's QEMU can do; the first call must not be within a loop."""
    return qemu_binary.facts(qemu_binary.BINARY)


def check_emulator(domain: Domain) -> None:
    """Refuse other emulators: no program that a document names is run."""
    if domain.devices.emulator not in (None, qemu_binary.BINARY):
        raise ConfError("config_unsupported", "no such emulator")


QEMU: Final = DefinitionBuilder(FactsCompletion())
LXC: Final = DefinitionBuilder(LxcCompletion("x86_64"))


def define(builder: DefinitionBuilder, xml: str) -> str:
    """Define a domain; what is written must be read back as it is."""
    if builder is QEMU:
        emulator()
    text = asyncio.run(builder.build(xml)).xml
    unknown_parts(parse_root(Domain, xml), Domain)
    read_back(lambda again: asyncio.run(builder.build(again)).xml, text)
    return text


def read_back(read: Callable[[str], str], text: str) -> None:
    """Read what was written, as a service does that is started again."""
    try:
        again = read(text)
    except (ConfError, VirError) as error:
        raise NotReadBackError(f"{error}") from error
    # Controllers may change places, as libvirt's do: those that were added come last at first.
    if sorted(again.splitlines()) != sorted(text.splitlines()):
        lines = difflib.unified_diff(text.splitlines(), again.splitlines(), lineterm="", n=0)
        raise NotReadBackError("; ".join([*lines][2:]))


def domain(data: str) -> None:
    """Define a domain and plan its start."""
    defined = parse_domain(define(QEMU, data))
    facts = emulator()
    defined.id = 1
    format_migratable(defined)
    check_supported(defined)
    for graphics in defined.devices.graphics:
        graphics.port = 5900 if graphics.port in (None, -1) else graphics.port
    assign_addresses(defined, facts)
    assign_aliases(defined)
    plan_launch(defined, facts, runtime(defined))
    live = format_domain(defined, live=True, secure=True)
    read_back(lambda text: format_domain(parse_domain(text), live=True, secure=True), live)


def container(data: str) -> None:
    """Define a container and plan its configuration."""
    defined = parse_domain(define(LXC, data))
    plan_container(defined, container_facts(defined))


def container_facts(defined: Domain) -> HostFacts:
    """What a start would find and make on the host."""
    devices = defined.devices
    return HostFacts(
        group="machine.slice/x",
        interfaces={
            number: LxcInterface("vnet0p", interface.guest_dev or "eth0")
            for number, interface in enumerate(devices.interfaces)
        },
        mount_points={
            filesystem.target_dir or "": "/images/1" for filesystem in devices.filesystems
        },
        device_numbers={path: "1:3" for path, _ in node_paths(defined)},
    )


def device(data: str) -> None:
    """Attach a device to a definition."""
    emulator()
    tag, attached = parse_device(data)
    base = parse_domain(BASE)
    check_persistent_attach(base, tag, attached)
    set_devices(base.devices, tag, [*devices_of(base.devices, tag), attached])
    text = asyncio.run(QEMU.build(base, size=len(data))).xml
    read_back(lambda again: asyncio.run(QEMU.build(again)).xml, text)


def network(data: str) -> None:
    """Define a network and plan its start."""
    defined = read_network(data)
    if makes_bridge(defined) and needs_name(defined):
        defined = with_bridge(defined, "virbr7")
    text = format_network(defined, inactive=True)
    read_back(lambda again: format_network(read_network(again), inactive=True), text)
    plan_start(defined, plan_dnsmasq(defined, FILES, user="nobody"))
    facts = firewall_facts(defined)
    if facts is not None:
        plan_install(facts)


def network_entry(data: str) -> None:
    """Change each section of a network."""
    base = read_network(seed("network/nat.xml"))
    for command in range(COMMANDS + 1):
        for section in range(SECTIONS + 1):
            try:
                changed = update_network(base, command, section, -1, data)
            except ConfError:
                continue
            plan_dnsmasq(changed, FILES, user="nobody")


def pool(data: str) -> None:
    """Define a pool."""
    text = format_pool(parse_pool_xml(data))
    read_back(lambda again: format_pool(parse_pool_xml(again)), text)


def volume(data: str) -> None:
    """Read a volume for each type of pool."""
    for pool_type in PoolType:
        try:
            text = format_volume(parse_volume_xml(data, pool_type))
        except (ConfError, VirError):
            continue
        parse_volume_xml(text, pool_type)


def secret(data: str) -> None:
    """Define a secret."""
    text = format_secret(parse_secret(data))
    read_back(lambda again: format_secret(parse_secret(again)), text)


def traffic_filter(data: str) -> None:
    """Define a filter and plan a tap's rules."""
    defined = parse_filter(data)
    text = format_filter(defined)
    read_back(lambda again: format_filter(parse_filter(again)), text)
    known = {**STOCK, defined.name: defined}
    variables = {"MAC": ("52:54:00:00:00:01",), "IP": ("10.0.0.2", "10.0.0.3"), "A": ("1", "2")}
    plan_tap("vnet0", defined.name, variables, known.get)


def binding(data: str) -> None:
    """Create a binding and plan its rules."""
    made = parse_binding(data)
    format_binding(made)
    plan_binding(made, (), STOCK.get)


def host_interface(data: str) -> None:
    """Define a host interface and plan its start."""
    defined = parse_interface(data)
    text = format_interface(defined, inactive=True)
    read_back(lambda again: format_interface(parse_interface(again), inactive=True), text)
    plan_interface(defined)


def snapshot(data: str) -> None:
    """Redefine a snapshot, or plan one of a domain, and read its file again."""
    base = parse_domain(seed("domain/plain.xml"))
    for redefine, offline in ((True, False), (False, True), (False, False)):
        try:
            made = parse_snapshot(data, redefine=redefine, offline=offline)
            align_disks(made, base, SnapshotLocation.EXTERNAL, uniform=False)
        except (ConfError, VirError):
            continue
        text = format_stored(made, uuid=OWNER, is_current=True)
        if redefine:  # a new one gets its state and time when it is made
            read_back(stored_again, text)


def stored_again(text: str) -> str:
    """Read a snapshot's file and write it."""
    made, current = parse_stored(text)
    return format_stored(made, uuid=OWNER, is_current=current)


def metadata(data: str) -> None:
    """Set and read a metadata element."""
    changed = parse_domain(BASE)
    setattr(
        changed, *changed_field(lambda: changed.metadata, 2, data, "key", "http://example.org/app")
    )
    read_metadata(changed, 2, "http://example.org/app")
    define(QEMU, format_domain(changed, secure=True))


def cpu(data: str) -> None:
    """Read a CPU that is compared or made the baseline."""
    read_cpu(data)


def native_lxc(data: str) -> None:
    """Turn a configuration of LXC into a domain."""
    define(LXC, domain_xml_of(data))


def seed(name: str) -> str:
    """Read a starting document."""
    return (Path(__file__).parent / "seeds" / name).read_text()


def node_device(xml: str) -> None:
    """Refuse to make a device of a document by name: none are made."""
    raise cannot_be_made(xml)
