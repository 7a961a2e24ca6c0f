"""virDomain and virConnect queries that domd answers: lookups, lists, state, XML.

Owns: one method per procedure, named as in the table. None of them waits for a guest.
May touch: the registry; /proc for a guest's processor time; hostd, for what the host makes of a
<cpu>. May not touch: files, workers.
"""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, Final

from conf.domain import format_domain
from conf.domain.devices.disk import Disk
from conf.domain.migratable import format_migratable
from conf.types.cpuset import parse_cpuset
from ipc import Descriptor
from rpc.enums import (
    DomainControlState,
    DomainMessageType,
    DomainXMLFlags,
)
from rpc.params import declared, read_params
from rpc.values import Domain as DomainId
from rpc.values import DomainSecurityLabel, TypedParam
from supervisor.dispatch.dispatcher import ClientCall
from supervisor.domd.cpu_update import UpdateModel
from supervisor.domd.disk_changes import follow
from supervisor.domd.domain import OFF, DomainObject, LiveDefinition
from supervisor.domd.domain_files import DomainFiles
from supervisor.domd.listing import domain_filter
from supervisor.domd.readahead import Readahead
from supervisor.domd.registry import DomainRegistry, not_running
from supervisor.objects.taints import deprecation_messages, taint_messages
from supervisor.runtime.procfs import open_stat, read_cpu_ns

XML_FLAGS: Final = (
    DomainXMLFlags.SECURE
    | DomainXMLFlags.INACTIVE
    | DomainXMLFlags.UPDATE_CPU
    | DomainXMLFlags.MIGRATABLE
)
MAX_AHEAD: Final = 4096  # characters of XML that go along with another domain's
#: Of virDomainSetLaunchSecurityState.
LAUNCH_STATE: Final = ("sev-secret-header", "sev-secret", "sev-secret-set-address")
ENFORCING: Final = 0  # no mandatory access control


class QueryCalls:
    """The queries of one driver."""

    def __init__(
        self,
        registry: DomainRegistry,
        files: DomainFiles,
        update_cpu: UpdateModel | None = None,
    ) -> None:
        """Make the calls.

        Args:
            registry: the driver's domains.
            files: of the domains.
            update_cpu: names what a <cpu> leaves to the host; None: the driver's have no <cpu>.
        """
        self._registry = registry
        self._errors = registry.errors
        self._files = files
        self._update_cpu = update_cpu
        self._filter = domain_filter(files)
        self._xml_readahead = Readahead(registry, lambda domain: domain.uuid)

    # Finding.

    def domain_lookup_by_id(self, call: ClientCall, id: int) -> DomainId:
        """Return the active domain with an id."""
        call.cacheable = True
        return self._registry.get_by_id(id).identity

    def domain_lookup_by_name(self, call: ClientCall, name: str) -> DomainId:
        """Return the domain with a name."""
        call.cacheable = True
        return self._registry.get_by_name(name).identity

    def domain_lookup_by_uuid(self, call: ClientCall, uuid: bytes) -> DomainId:
        """Return the domain with a UUID."""
        call.cacheable = True
        return self._registry.find(DomainId("", uuid, OFF)).identity

    def connect_num_of_domains(self, call: ClientCall) -> int:
        """Return the number of active domains."""
        call.cacheable = True
        return sum(domain.is_active for domain in self._registry)

    def connect_list_domains(self, call: ClientCall, maxids: int) -> list[int]:
        """Return the ids of active domains."""
        call.cacheable = True
        return [domain.id for domain in self._registry if domain.is_active][: max(0, maxids)]

    def connect_num_of_defined_domains(self, call: ClientCall) -> int:
        """Return the number of inactive domains."""
        call.cacheable = True
        return sum(not domain.is_active for domain in self._registry)

    def connect_list_defined_domains(self, call: ClientCall, maxnames: int) -> list[str]:
        """Return the names of inactive domains."""
        call.cacheable = True
        names = [domain.name for domain in self._registry if not domain.is_active]
        return names[: max(0, maxnames)]

    def connect_list_all_domains(
        self, call: ClientCall, need_results: int, flags: int
    ) -> tuple[list[DomainId], int]:
        """Return the domains that match the filters."""
        call.cacheable = True
        domains = self.filtered(flags)
        return [domain.identity for domain in domains] if need_results else [], len(domains)

    def filtered(self, flags: int) -> list[DomainObject]:
        """Return the domains that match the filters of `connect_list_all_domains`.

        Raises:
            VirError: INVALID_ARG for unknown flags.
        """
        self._errors.check_flags("ConnectListAllDomains", flags, self._filter.flags)
        return self._filter.select(self._registry, flags)

    # Describing.

    def domain_is_active(self, call: ClientCall, dom: DomainId) -> int:
        """Return whether the domain is active."""
        call.cacheable = True
        return int(self._registry.find(dom).is_active)

    def domain_is_persistent(self, call: ClientCall, dom: DomainId) -> int:
        """Return whether the domain is persistent."""
        call.cacheable = True
        return int(self._registry.find(dom).definition is not None)

    def domain_is_updated(self, call: ClientCall, dom: DomainId) -> int:
        """Return 0: libvirt's drivers never report an updated domain."""
        call.cacheable = True
        self._registry.find(dom)
        return 0

    def domain_get_state(self, call: ClientCall, dom: DomainId, flags: int) -> tuple[int, int]:
        """Return virDomainState and its reason."""
        call.cacheable = True
        self._errors.check_flags("DomainGetState", flags)
        return self._registry.find(dom).state

    def domain_get_info(self, call: ClientCall, dom: DomainId) -> tuple[int, int, int, int, int]:
        """Return state, maximum and current memory (KiB), vCPUs, CPU time (ns)."""
        domain = self._registry.find(dom)
        definition = domain.current.domain
        memory = (
            definition.current_memory.amount if definition.current_memory else definition.memory
        )
        time = 0
        call.cacheable = True
        if domain.runtime is not None:
            memory = domain.runtime.status.balloon_kib or memory
            stat = open_stat(domain.runtime.status.pid)
            if stat is None:  # it ends at this moment
                call.cacheable = False
            else:
                call.cpu_time_of = Descriptor(stat)
                time = read_cpu_ns(stat) or 0
        return domain.state[0], definition.memory, memory, definition.current_vcpus, time

    def domain_get_max_memory(self, call: ClientCall, dom: DomainId) -> int:
        """Return the maximum memory in KiB."""
        call.cacheable = True
        return self._registry.find(dom).current.domain.memory

    def domain_get_max_vcpus(self, call: ClientCall, dom: DomainId) -> int:
        """Return the maximum number of vCPUs."""
        call.cacheable = True
        domain = self._registry.find(dom)
        if not domain.is_active:
            raise not_running(domain)
        return domain.current.domain.maximum_vcpus

    def domain_get_os_type(self, call: ClientCall, dom: DomainId) -> str:
        """Return the OS type: "hvm", "exe"."""
        call.cacheable = True
        return self._registry.find(dom).current.domain.os.type.name

    def domain_get_security_label(self, call: ClientCall, dom: DomainId) -> tuple[bytes, int]:
        """Return an empty security label: there is no security driver."""
        self._registry.find(dom)
        return b"\0", 0

    def domain_get_security_label_list(
        self, call: ClientCall, dom: DomainId
    ) -> tuple[list[DomainSecurityLabel], int]:
        """Return the labels of a running guest, one for each <secmodel> of the capabilities.

        The first model is "none", whose label is empty; "dac" has the user and group.
        """
        live = self._registry.find(dom).live_definition
        if live is None:
            return [], 0
        owner = next((each.label for each in live.domain.seclabels if each.model == "dac"), None)
        labels = [
            DomainSecurityLabel(text.encode() + b"\0", ENFORCING) for text in ("", owner or "")
        ]
        return labels, len(labels)

    def domain_get_launch_security_info(
        self, call: ClientCall, dom: DomainId, flags: int
    ) -> list[TypedParam]:
        """Return no parameters: the domain has no <launchSecurity>, or its guest is not measured.

        Raises:
            VirError: OPERATION_UNSUPPORTED: it has.
        """
        if self._registry.find(dom).current.domain.launch_security is not None:
            raise self._errors.operation_unsupported("launch security is not supported yet")
        return []

    def domain_set_launch_security_state(
        self, call: ClientCall, dom: DomainId, params: list[TypedParam], flags: int
    ) -> None:
        """Refuse a secret for the launch of an encrypted guest: this daemon starts none.

        Raises:
            VirError: ARGUMENT_UNSUPPORTED, INVALID_ARG: other parameters; OPERATION_UNSUPPORTED:
                the domain has no SEV; OPERATION_INVALID: it does not run.
        """
        self._errors.check_flags("DomainSetLaunchSecurityState", flags)
        read_params(params, declared(*LAUNCH_STATE))
        domain = self._registry.find(dom)
        security = domain.current.domain.launch_security
        if security is None or security.type != "sev":
            detail = "setting a launch secret is only supported in SEV-enabled domains"
            raise self._errors.operation_unsupported(detail)
        raise not_running(domain)

    def domain_get_messages(self, call: ClientCall, dom: DomainId, flags: int) -> list[str]:
        """Return what taints the running guest, and its deprecated settings; none of one off."""
        self._errors.check_flags("DomainGetMessages", flags, sum(DomainMessageType))
        runtime = self._registry.find(dom).runtime
        if runtime is None:
            return []
        messages: list[str] = []
        if not flags or flags & DomainMessageType.TAINTING:
            messages += taint_messages(runtime.status.taints)
        if not flags or flags & DomainMessageType.DEPRECATION:
            messages += deprecation_messages(runtime.status.deprecations)
        return messages

    def domain_get_control_info(
        self, call: ClientCall, dom: DomainId, flags: int
    ) -> tuple[int, int, int]:
        """Return whether a call or job holds the domain, and since when.

        Raises:
            VirError: OPERATION_INVALID when the guest does not run.
        """
        self._errors.check_flags("DomainGetControlInfo", flags)
        domain = self._registry.find(dom)
        if not domain.is_active:
            raise not_running(domain)
        busy = bool(domain.change_lock.holder) or domain.jobs.current is not None
        return (DomainControlState.JOB if busy else DomainControlState.OK), 0, 0

    def domain_get_xml_desc(
        self, call: ClientCall, dom: DomainId, flags: int
    ) -> str | Coroutine[Any, Any, str]:
        """Return the domain's XML.

        Raises:
            VirError: INVALID_ARG for unknown flags; with UPDATE_CPU those of `UpdateCpu`.
        """
        call.cacheable = True
        self._errors.check_flags("DomainGetXMLDesc", flags, XML_FLAGS)
        domain = self._registry.find(dom)
        if flags & DomainXMLFlags.UPDATE_CPU and self._update_cpu is not None:
            call.cacheable = False
            return describe_updated(domain, flags, self._update_cpu)
        for other in self._xml_readahead.after(domain):
            if other.is_listed and is_xml_at_hand(other, flags):
                call.readahead.append(((other.identity, flags), describe(other, flags)))
        return describe(domain, flags)


def describe(domain: DomainObject, flags: int) -> str:
    """Return a domain's XML (flags: virDomainXMLFlags)."""
    secure = bool(flags & DomainXMLFlags.SECURE)
    migratable = bool(flags & DomainXMLFlags.MIGRATABLE)
    # As libvirt's newDef: clients undefine a running domain and define it again by this.
    definition = domain.definition or domain.undefined
    if domain.runtime is None or (flags & DomainXMLFlags.INACTIVE and definition):
        assert definition is not None, "a domain without guest and definition is forgotten"
        if domain.disk_changes:
            # A client that was told of a block job's end asks before the definition is written.
            definition = follow(definition, domain.disk_changes) or definition
        if migratable:
            return definition.migratable_xml
        return definition.secure_xml if secure else definition.public_xml
    live = domain.runtime.live
    if migratable:
        return live.migratable_xml
    if flags & DomainXMLFlags.INACTIVE and isinstance(live, LiveDefinition):
        return live.inactive_secure_xml if secure else live.inactive_xml
    return live.xml if secure else live.public_xml


async def describe_updated(domain: DomainObject, flags: int, update_cpu: UpdateModel) -> str:
    """Return a domain's XML; the <cpu> of a definition says what the host makes of it.

    Raises:
        VirError: as `UpdateCpu`.
    """
    inactive = domain.runtime is None or flags & DomainXMLFlags.INACTIVE
    definition = domain.definition or domain.undefined
    if not inactive or definition is None:  # a running guest's <cpu> was named at its start
        return describe(domain, flags)
    updated = await update_cpu(definition.domain)
    if flags & DomainXMLFlags.MIGRATABLE:
        return format_migratable(updated)
    return format_domain(updated, secure=bool(flags & DomainXMLFlags.SECURE))


def is_xml_at_hand(domain: DomainObject, flags: int) -> bool:
    """Return whether a domain's XML is short, and need not be parsed first."""
    current = domain.live_definition or domain.definition
    formatted = flags & DomainXMLFlags.MIGRATABLE
    if current is None or formatted:
        return False
    if flags & DomainXMLFlags.INACTIVE and domain.runtime is not None:
        return False
    return len(current.xml) <= MAX_AHEAD and "passw" not in current.xml


def is_disk(disk: Disk, path: str) -> bool:
    """Return whether a client's path names the disk: by its target or its absolute source."""
    source = disk.source
    sources = (source.file, source.dev) if source is not None else ()
    return bool(path) and (path == disk.target.dev or (path[0] == "/" and path in sources))


def cpumap(cpuset: str | None, cpus: int) -> bytes:
    """Return a CPU set as a bit for each of the host's CPUs; every CPU for None."""
    selected = parse_cpuset(cpuset) if cpuset else range(cpus)
    bits = sum(1 << cpu for cpu in selected if cpu < cpus)
    return bits.to_bytes((cpus + 7) // 8, "little")
