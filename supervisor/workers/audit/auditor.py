"""Auditor: writes the audit records of one guest.

Owns: what was recorded of the guest's resources. May touch: the audit log.
May not touch: the guest.

Starts, ends and failures are recorded by the worker. What the guest uses is compared with the last
record each time its live XML changes: so no way to change a guest can forget its record.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from conf.domain import Domain, parse_domain
from conf.errors import ConfError
from rpc.enums import DomainShutoffReason
from supervisor.messages.worker import FreshBoot, LoadSnapshot, RestoreImage, StartSource
from supervisor.runtime.audit import AuditLog, AuditRecord, RecordType, field, plain
from supervisor.workers.audit.resources import AuditedResource, of_device, resources_of

RESTORED: Final = {FreshBoot: "booted", RestoreImage: "restored", LoadSnapshot: "from-snapshot"}
MIGRATED: Final = "migrated"
#: `reason=` of an end, where it is not the reason's own name.
ENDS: Final = {
    DomainShutoffReason.CRASHED: "failed",
    DomainShutoffReason.UNKNOWN: "failed",
    DomainShutoffReason.DAEMON: "failed",
}

#: The type in a live XML that this daemon has formatted.
TYPE: Final = re.compile(r"<domain type='(\w+)'")

Resources = dict[tuple[str, str], AuditedResource]

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class AuditedGuest:
    """How records name a guest."""

    virt: str  # the type of the domain: "kvm", "qemu", "lxc"
    name: str
    uuid: str

    @property
    def fields(self) -> str:
        """The fields that every record has."""
        return f"{field('vm', self.name)} uuid={self.uuid}"


class Auditor:
    """Writes the records of one worker's guests."""

    def __init__(self, audit_log: AuditLog) -> None:
        self._log = audit_log
        self._follows = False  # a start that is under way is recorded when it has succeeded
        self._recorded: Resources | None = None

    def started(self, domain: Domain, pid: int, source: StartSource) -> None:
        """Record a start and everything that the guest uses."""
        self._guarded(lambda: self._start(domain, pid, source, success=True))

    def not_started(self, xml: str, source: StartSource) -> None:
        """Record that a start failed; what the guest was to use was given to it, as in libvirt."""

        def record() -> None:
            try:
                domain = parse_domain(xml)
            except ConfError as error:
                log.debug("a start failed whose XML names no guest: %s", error)
                return
            self._start(domain, 0, source, success=False)

        self._guarded(record)

    def follow(self) -> None:
        """Record changes from now on: the guest runs."""
        self._follows = True

    def changed(self, former_xml: str, domain: Domain) -> None:
        """Record how the guest's resources differ from the last record.

        Args:
            former_xml: what it had, for a worker that has recorded nothing yet.
            domain: what it has.
        """
        if self._follows:
            self._guarded(lambda: self._compare(former_xml, domain))

    def not_attached(self, name: str, uuid: str, live_xml: str, device: str) -> None:
        """Record that a device could not be attached.

        Args:
            name: the guest's.
            uuid: the guest's.
            live_xml: of the guest.
            device: the client's XML.
        """
        self._guarded(lambda: self._refuse(named_guest(name, uuid, live_xml), device))

    def _refuse(self, guest: AuditedGuest, device: str) -> None:
        for resource in of_device(device):
            self._resource(guest, "attach", resource, None, resource.value, success=False)

    def stopped(self, name: str, uuid: str, live_xml: str, reason: DomainShutoffReason) -> None:
        """Record an end."""
        self._guarded(lambda: self._stop(name, uuid, live_xml, reason))
        self._recorded = None

    def _stop(self, name: str, uuid: str, live_xml: str, reason: DomainShutoffReason) -> None:
        guest = named_guest(name, uuid, live_xml)
        word = ENDS.get(reason, reason.name.lower().replace("_", "-"))
        self._control(guest, f"op=stop reason={word}", 0, success=True)

    def _start(self, domain: Domain, pid: int, source: StartSource, *, success: bool) -> None:
        guest = audited_guest(domain)
        for model, label in labels_of(domain):
            contexts = f"{plain('vm-ctx', label)} {plain('img-ctx', label)} model={model}"
            text = f"virt={guest.virt} {guest.fields} {contexts}"
            self._log.write(AuditRecord(RecordType.VIRT_MACHINE_ID, text))
        recorded = resources_of(domain)
        for resource in recorded.values():
            if resource.value or resource.fields:
                self._resource(guest, "start", resource, None, resource.value)
        reason = RESTORED.get(type(source), MIGRATED)
        self._control(guest, f"op=start reason={reason}", pid, success=success)
        self._recorded = recorded if success else None

    def _compare(self, former_xml: str, domain: Domain) -> None:
        before = self._recorded
        if before is None:
            before = resources_of(parse_domain(former_xml))
        now = resources_of(domain)
        guest = audited_guest(domain)
        for key in [*before, *(key for key in now if key not in before)]:
            old, new = before.get(key), now.get(key)
            if old == new:
                continue
            is_update = (old and new) or (new or old or _NONE).is_amount
            reason = "update" if is_update else "attach" if new else "detach"
            resource = new or old or _NONE
            values = (old.value if old else None), (new.value if new else None)
            self._resource(guest, reason, resource, *values)
        self._recorded = now

    def _resource(
        self,
        guest: AuditedGuest,
        reason: str,
        resource: AuditedResource,
        old: str | None,
        new: str | None,
        *,
        success: bool = True,
    ) -> None:
        head = f"virt={guest.virt} resrc={resource.type} reason={reason} {guest.fields}"
        text = f"{head} {resource.change(old, new)}"
        self._log.write(AuditRecord(RecordType.VIRT_RESOURCE, text, success))

    def _control(self, guest: AuditedGuest, what: str, pid: int, *, success: bool) -> None:
        text = f"virt={guest.virt} {what} {guest.fields} vm-pid={pid}"
        self._log.write(AuditRecord(RecordType.VIRT_CONTROL, text, success))

    def _guarded(self, work: Callable[[], None]) -> None:
        """Do it where records go anywhere; a mistake in it is logged: the guest runs by now."""
        if not self._log.is_enabled:
            return
        try:
            work()
        except Exception:
            log.exception("an audit record is missing")


_NONE: Final = AuditedResource("", "", "")


def audited_guest(domain: Domain) -> AuditedGuest:
    """Name a domain."""
    return AuditedGuest(domain.type, domain.name, domain.uuid or "")


def named_guest(name: str, uuid: str, live_xml: str) -> AuditedGuest:
    """Name a guest whose live XML this daemon has formatted: parsing it takes milliseconds."""
    found = TYPE.match(live_xml)
    return AuditedGuest(found[1] if found else "", name, uuid)


def labels_of(domain: Domain) -> list[tuple[str, str]]:
    """List the security models and labels that a domain runs under."""
    return [(label.model or "", label.label) for label in domain.seclabels if label.label]
