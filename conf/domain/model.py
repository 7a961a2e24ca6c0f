"""<domain>: a whole guest.

Owns: the top of the model; `conf.domain.domain_xml` reads and writes it.
May not touch: what an emulator makes of it (`conf.domain.defaults`), the host.
Source: libvirt 9.0 formatdomain.
"""

from __future__ import annotations

from dataclasses import dataclass

from lxml import etree

from conf.domain.clock import Clock, Pm
from conf.domain.cpu import Cpu
from conf.domain.devices import Devices
from conf.domain.devices.disk_order import order_disks
from conf.domain.features import Features
from conf.domain.lxc.model import IdMap, LxcNamespace
from conf.domain.metadata import drop_repeated_namespaces
from conf.domain.os import Os, OsType, Sysinfo
from conf.domain.qemu_namespace import (
    QemuCapabilities,
    QemuCommandline,
    QemuDeprecation,
    QemuOverride,
)
from conf.domain.security import Keywrap, LaunchSecurity, PerfEvent, Seclabel, check_seclabels
from conf.domain.tuning import (
    Blkiotune,
    BootMemory,
    Cputune,
    DefaultIoThread,
    IoThread,
    MaxMemory,
    MemoryBacking,
    Memtune,
    Numatune,
    Resource,
    Vcpu,
    VcpuState,
)
from conf.errors import ConfError
from conf.mapper import Refusal, attribute, child, children, element, text, verbatim
from conf.types.enum import one_of
from conf.types.integer import NEGATIVE, BoundedInteger, c_integer
from conf.types.size import Amount
from conf.types.uuid import uuid_reader

#: Types that name a hypervisor of libvirt's; what this build has is checked by the caller.
TYPES = one_of(
    "none", "qemu", "kqemu", "kvm", "xen", "lxc", "uml", "openvz", "test", "vmware", "hyperv",
    "vbox", "phyp", "parallels", "bhyve", "vz", "hvf",
)  # fmt: skip
ACTIONS = ("destroy", "restart", "preserve", "rename-restart")
CRASH_ACTIONS = (*ACTIONS, "coredump-destroy", "coredump-restart")
READ_UUID = uuid_reader("internal", "domain/uuid")
#: Each thread gets an entry: libvirt's 32 bits would fill the memory.
IOTHREAD_COUNT = BoundedInteger(0, 65536, 10, NEGATIVE)


def domain_type(text: str) -> str:
    """Read the name of a hypervisor.

    Raises:
        ConfError: "config_unsupported": libvirt has no such type.
    """
    try:
        return TYPES(text)
    except ValueError:
        detail = f"invalid domain type {text}"
        raise ConfError("config_unsupported", detail, "domain/@type") from None


def lenient_id(text: str) -> int | None:
    """Read a guest's number; a client's document does not choose it, so it may be anything."""
    try:
        return c_integer(text)
    except ValueError:
        return None


@element("domain", read_first=("name", "uuid", "hwuuid", "type"))
@dataclass(slots=True, kw_only=True)
class DomainIdentity:
    """Who a guest is and what it runs on: what libvirt reads and checks before all else.

    Source: libvirt 9.0 virDomainDefParseIDs, virDomainDefParseCaps.
    """

    type: str = attribute(
        "@type",
        read=domain_type,
        default="",
        empty_is_absent=True,
        required=Refusal("internal", "missing domain type attribute"),
    )
    name: str = text("name", default="")
    uuid: str | None = text("uuid", read=READ_UUID)
    hwuuid: str | None = text("hwuuid", read=READ_UUID)
    bootloader: str | None = text("bootloader")
    os_type: OsType | None = child("os/type", OsType)

    @staticmethod
    def before_read(node: etree._Element) -> None:
        """Check that there is a name, before all else.

        Raises:
            ConfError: "no_name".
        """
        if not node.findtext("name"):
            raise ConfError("no_name", "<domain>: it needs a <name>", "domain/name")

    def after_read(self) -> None:
        """Check what must be there.

        Raises:
            ConfError: the kind is libvirt's code.
        """
        if (self.os_type is None or not self.os_type.name) and not self.bootloader:
            raise ConfError("xml", "an os <type> must be specified", "domain/os/type")


#: The order in which libvirt's parser goes through the rest.
PARSER_ORDER = (
    "genid", "title", "description", "seclabels", "boot_memory", "current_memory", "max_memory",
    "memory_backing", "blkiotune", "memtune", "vcpu", "vcpus", "iothreads", "iothread_ids",
    "default_iothread", "cputune", "cpu", "numatune", "resource", "features",
    "on_poweroff", "on_reboot", "on_crash", "on_lockfailure", "pm", "perf", "clock", "os",
    "devices",
)  # fmt: skip


@element("domain", read_first=PARSER_ORDER)
@dataclass(slots=True, kw_only=True)
class Domain:
    """<domain>: a definition; the live one also has the id, aliases and ports."""

    type: str = attribute("@type", read=domain_type, default="", empty_is_absent=True)
    id: int | None = attribute("@id", read=lenient_id, only="live")
    name: str = text("name", default="")
    uuid: str | None = text("uuid", read=READ_UUID)
    hwuuid: str | None = text("hwuuid", read=READ_UUID)
    genid: str | None = text(
        "genid",
        read=lambda value: READ_UUID(value) if value.strip() else "",
        read_empty=True,
        single="element 'genid' can only appear once",
    )
    title: str | None = text("title", omit="")
    description: str | None = text("description", omit="")
    metadata: str | None = verbatim("metadata", prune=drop_repeated_namespaces)
    max_memory: MaxMemory | None = child("maxMemory", MaxMemory, empty_is_absent=True)
    boot_memory: BootMemory | None = child("memory", BootMemory)
    current_memory: Amount | None = child("currentMemory", Amount)
    blkiotune: Blkiotune | None = child("blkiotune", Blkiotune, merge=True)
    memtune: Memtune | None = child("memtune", Memtune, merge=True)
    memory_backing: MemoryBacking | None = child("memoryBacking", MemoryBacking, merge=True)
    vcpu: Vcpu | None = child("vcpu", Vcpu)
    vcpus: list[VcpuState] = children("vcpus/vcpu", VcpuState)
    iothreads: int | None = text("iothreads", read=IOTHREAD_COUNT)
    iothread_ids: list[IoThread] = children("iothreadids/iothread", IoThread)
    default_iothread: DefaultIoThread | None = child("defaultiothread", DefaultIoThread)
    cputune: Cputune | None = child("cputune", Cputune, merge=True)
    numatune: Numatune | None = child("numatune", Numatune, single="only one numatune is supported")
    resource: Resource | None = child(
        "resource", Resource, single="only one resource element is supported"
    )
    sysinfos: list[Sysinfo] = children("sysinfo", Sysinfo)
    bootloader: str | None = text("bootloader")
    bootloader_args: str | None = text("bootloader_args")
    os: Os = child("os", Os, merge=True)
    idmap: IdMap | None = child("idmap", IdMap, merge=True)
    features: Features | None = child("features", Features, merge=True)
    cpu: Cpu | None = child("cpu", Cpu)
    clock: Clock | None = child("clock", Clock, merge=True)
    on_poweroff: str | None = text(
        "on_poweroff", read=one_of(*ACTIONS, unknown="unknown on_poweroff action: {}")
    )
    on_reboot: str | None = text(
        "on_reboot", read=one_of(*ACTIONS, unknown="unknown on_reboot action: {}")
    )
    on_crash: str | None = text(
        "on_crash", read=one_of(*CRASH_ACTIONS, unknown="unknown on_crash action: {}")
    )
    on_lockfailure: str | None = text(
        "on_lockfailure",
        read=one_of(
            "poweroff", "restart", "pause", "ignore", unknown="unknown lockfailure action: {}"
        ),
    )
    pm: Pm | None = child("pm", Pm, merge=True)
    perf: list[PerfEvent] = children("perf/event", PerfEvent)
    devices: Devices = child("devices", Devices, merge=True)
    seclabels: list[Seclabel] = children("seclabel", Seclabel, check=check_seclabels)
    keywrap: Keywrap | None = child("keywrap", Keywrap)
    launch_security: LaunchSecurity | None = child("launchSecurity", LaunchSecurity)
    qemu_commandline: QemuCommandline | None = child(
        "qemu:commandline", QemuCommandline, merge=True
    )
    qemu_capabilities: QemuCapabilities | None = child("qemu:capabilities", QemuCapabilities)
    qemu_override: QemuOverride | None = child("qemu:override", QemuOverride)
    qemu_deprecation: QemuDeprecation | None = child("qemu:deprecation", QemuDeprecation)
    lxc_namespace: LxcNamespace | None = child("lxc:namespace", LxcNamespace, merge=True)

    def after_read(self) -> None:
        """Give what every guest has."""
        self.os = self.os or Os()
        self.devices = self.devices or Devices()
        order_disks(self.devices.disks)
        if self.lxc_namespace == LxcNamespace():
            self.lxc_namespace = None

    @property
    def partition(self) -> str | None:
        """The cgroup that holds the guest's own."""
        return self.resource.partition if self.resource else None

    @property
    def memory(self) -> int:
        """What the guest boots with, pluggable memory included, in KiB."""
        return self.boot_memory.amount if self.boot_memory else 0

    @property
    def memory_dump_core(self) -> bool | None:
        """Whether a dump of the emulator holds the guest's memory."""
        return self.boot_memory.dump_core if self.boot_memory else None

    @property
    def maximum_vcpus(self) -> int:
        """The most processors there can be."""
        return self.vcpu.maximum if self.vcpu else 1

    @property
    def current_vcpus(self) -> int:
        """How many processors there are."""
        return self.vcpu.current or self.vcpu.maximum if self.vcpu else 1

    def iothread_list(self) -> list[IoThread]:
        """List the I/O threads; those that were only counted get the lowest free ids."""
        threads = list(self.iothread_ids)
        taken = {thread.id for thread in threads}
        number = 1
        while len(threads) < (self.iothreads or 0):
            if number not in taken:
                threads.append(IoThread(id=number))
            number += 1
        return threads

    def boot_orders(self) -> list[int]:
        """List the boot order numbers of the devices, device by device."""
        devices = self.devices
        groups = (
            devices.disks,
            devices.interfaces,
            devices.hostdevs,
            devices.redirdevs,
            devices.filesystems,
        )
        return [
            item.boot_order for group in groups for item in group if item.boot_order is not None
        ]
