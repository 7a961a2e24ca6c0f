"""DomainObject: a domain as domd has it (libvirt's virDomainObj).

Owns: what is known of one domain. May not touch: files, the bus, the guest.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from conf.domain import Domain, format_domain, parse_domain
from conf.domain.cpu_document import parse_cpu
from conf.domain.descriptions import read_descriptions
from conf.domain.migratable import format_migratable
from conf.domain.resources import read_resources
from conf.domain.save_cookie import write_cookie
from rpc.enums import DomainShutoffReason, DomainState
from rpc.values import Domain as DomainId
from supervisor.domd.checkpoints.tree import CheckpointTree
from supervisor.domd.fd_group import FdGroup
from supervisor.domd.snapshots.tree import SnapshotTree
from supervisor.messages.worker import DomainStatus
from supervisor.objects.disk_change import DiskChange
from supervisor.objects.domain_phase import PhaseTracker
from supervisor.objects.job import DomainJobs
from supervisor.objects.object import LibvirtObject

OFF = -1  # the id of a domain that does not run


class Definition:
    """A domain's complete XML, parsed when its model is first needed."""

    def __init__(self, xml: str, domain: Domain | None = None) -> None:
        """Wrap XML that was validated before.

        Args:
            xml: the XML, with passwords.
            domain: its model, completed by this process; None: it was read from a file.
        """
        self.xml = xml
        self.is_complete = domain is not None
        #: Of the XML, once it was edited: the next edit formats its change (`reformat_domain`).
        self.parts: Sequence[str] = ()
        if domain is not None:
            self.__dict__["domain"] = domain

    @cached_property
    def domain(self) -> Domain:
        """The model; it is shared and must not be changed."""
        return parse_domain(self.xml)

    @property
    def startable(self) -> Domain:
        """The model for another start of the same machine; it must not be changed."""
        return self.domain

    @property
    def cookie(self) -> str:
        """What a save image holds besides its XML: nothing."""
        return write_cookie(None)

    @cached_property
    def resources(self) -> Domain:
        """A model that has the resources at least; it is shared and must not be changed."""
        return self.__dict__.get("domain") or read_resources(self.xml)

    @cached_property
    def descriptions(self) -> Domain:
        """A model that has title, description and metadata at least; it must not be changed."""
        return self.__dict__.get("domain") or read_descriptions(self.xml)

    @cached_property
    def public_xml(self) -> str:
        """The XML without passwords."""
        if "passw" not in self.xml:
            return without_header(self.xml)
        return format_domain(self.domain)

    @cached_property
    def secure_xml(self) -> str:
        """The XML with passwords."""
        return without_header(self.xml)

    @cached_property
    def migratable_xml(self) -> str:
        """The inactive XML with passwords, without what every guest has anyway."""
        return format_migratable(self.startable)


@dataclass(frozen=True, slots=True)
class DomainRuntime:
    """A running guest as its worker last reported it."""

    status: DomainStatus
    live: LiveDefinition
    xml_version: int  # of `live`

    @property
    def is_outdated(self) -> bool:
        """Whether the worker has newer live XML than this."""
        return self.xml_version != self.status.xml_version

    @staticmethod
    def from_status(status: DomainStatus, previous: DomainRuntime | None) -> DomainRuntime | None:
        """Make the runtime state of a status, whose XML is parsed again only if it has changed.

        Returns:
            None: there is no XML yet.
        """
        xml = status.live_xml
        if previous is not None and (not xml or previous.live.xml == xml):
            version = status.xml_version if xml else previous.xml_version
            return DomainRuntime(status, previous.live, version)
        if not xml:
            return None
        return DomainRuntime(status, LiveDefinition(xml, status.original_cpu), status.xml_version)


def has_same_state(before: DomainStatus, after: DomainStatus) -> bool:
    """Return whether no more than a guest's settings differ between two reports of it."""
    names = ("id", "pid", "state", "reason", "controllers")
    return all(getattr(before, name) == getattr(after, name) for name in names)


class LiveDefinition(Definition):
    """A running guest's XML."""

    def __init__(self, xml: str, original_cpu: str = "") -> None:
        """Wrap the XML that the guest's worker reports.

        Args:
            xml: the XML, with passwords.
            original_cpu: the <cpu> before its start; "": the XML's.
        """
        super().__init__(xml)
        self.original_cpu = original_cpu

    @property
    def startable(self) -> Domain:
        """The model with the <cpu> that another start makes the same of; it must not be changed."""
        if not self.original_cpu:
            return self.domain
        return replace(self.domain, cpu=parse_cpu(self.original_cpu))

    @property
    def cookie(self) -> str:
        """What a save image holds of the guest besides its XML."""
        return write_cookie(self.domain.cpu if self.original_cpu else None)

    @cached_property
    def public_xml(self) -> str:
        """The live XML without passwords."""
        return self.xml if "passw" not in self.xml else format_domain(self.domain, live=True)

    @cached_property
    def inactive_xml(self) -> str:
        """The inactive XML, without what only a running guest has."""
        return format_domain(self.domain)

    @cached_property
    def inactive_secure_xml(self) -> str:
        """The same with passwords."""
        return format_domain(self.domain, secure=True)


@dataclass(slots=True, eq=False)
class DomainObject(LibvirtObject[Definition, DomainRuntime]):
    """A domain: persistent, active, or both."""

    source: Definition | None = None  # what the running guest was started from, when known
    undefined: Definition | None = None  # the last one of a guest that has become transient
    ended: Definition | None = None  # what its last guest was, or was to be
    reason: int = DomainShutoffReason.UNKNOWN  # why it is off
    autodestroy: str = ""  # the client whose end is the guest's
    agent_timeout: int = -2  # for its guest agent: virDomainAgentResponseTimeoutValues, or seconds
    worker: str = ""  # the worker's name on the bus, while there is one
    snapshots: SnapshotTree | None = None  # None: not read yet (`SnapshotStore.tree`)
    checkpoints: CheckpointTree | None = None  # the same (`CheckpointStore.tree`)
    #: Of its guest's disks, which the definition does not have yet (`DiskChanges`).
    disk_changes: list[DiskChange] = field(default_factory=list)
    following: asyncio.Lock | None = None  # held by who has the definition follow them
    fd_groups: dict[str, FdGroup] = field(default_factory=dict)  # of clients (`FdGroups`)
    worker_calls: int = 0  # clients' calls that its worker has not answered
    renewal: asyncio.Event | None = None  # set at the end of the one that is under way
    phases: PhaseTracker = field(init=False)
    jobs: DomainJobs = field(init=False)

    def __post_init__(self) -> None:
        LibvirtObject.__post_init__(self)  # super() without arguments fails in a slots dataclass
        self.phases = PhaseTracker(self.name)
        self.jobs = DomainJobs(self.change_lock, self.errors)

    @property
    def id(self) -> int:
        """The active domain's id; -1 when it is inactive."""
        return self.runtime.status.id if self.runtime else OFF

    @property
    def identity(self) -> DomainId:
        """The domain as the protocol encodes it."""
        return DomainId(self.name, self.uuid, self.id)

    @property
    def live_definition(self) -> LiveDefinition | None:
        """The running guest's definition."""
        return self.runtime.live if self.runtime is not None else None

    @property
    def current(self) -> Definition:
        """The definition in force: the running guest's, else the persistent one."""
        # While a transient domain is being created it has neither.
        definition = self.live_definition or self.definition or self.source
        assert definition is not None, "a domain without definition and guest is removed"
        return definition

    @property
    def state(self) -> tuple[int, int]:
        """VirDomainState and its reason."""
        if self.runtime is not None:
            return self.runtime.status.state, self.runtime.status.reason
        return DomainState.SHUTOFF, self.reason


def without_header(xml: str) -> str:
    """Return stored XML without the comment before it."""
    start = xml.find("<domain")
    return xml[start:] if start > 0 else xml
