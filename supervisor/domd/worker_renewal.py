"""Renewal of workers: one that has grown is replaced by a fresh process while nothing is under way.

Owns: when that is. May touch: the root, which replaces the worker.
May not touch: guests: the worker hands its guest over to its successor itself.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from ipc import BusError, Node
from rpc.errors import VirError
from supervisor.domd.domain import DomainObject
from supervisor.domd.registry import DomainRegistry
from supervisor.domd.running_domains import RunningDomains
from supervisor.domd.workers import Workers
from supervisor.messages.root import RenewWorker
from supervisor.messages.worker import WorkerGrown
from supervisor.objects.domain_phase import DomainPhase

CONFIRM_S: Final = 5.0  # for the successor's first report; calls that change the guest wait for it
AT_ONCE: Final = 1  # renewals: an exporter that wakes all workers must not have all replaced

log = logging.getLogger(__name__)


class WorkerRenewal:
    """The renewal of one driver's workers."""

    def __init__(
        self, node: Node, registry: DomainRegistry, workers: Workers, domains: RunningDomains
    ) -> None:
        self._node = node
        self._registry = registry
        self._domains = domains
        self._turn = asyncio.Semaphore(AT_ONCE)
        workers.subscribe(WorkerGrown, self.on_grown)

    def on_grown(self, event: WorkerGrown) -> None:
        """Renew a worker, unless its domain has something under way; it asks again later."""
        domain = self._registry.by_uuid(event.uuid)
        if domain is not None and self._is_idle(domain):
            self._domains.spawn_task(self._renew(domain))

    def _is_idle(self, domain: DomainObject) -> bool:
        has_work = (
            domain.jobs.current is not None
            or domain.change_lock.holder
            or domain.worker_calls  # one that the worker has not read yet would be lost with it
        )
        return domain.phases.phase is DomainPhase.RUNNING and not has_work

    async def _renew(self, domain: DomainObject) -> None:
        async with self._turn:
            if not self._is_idle(domain):
                return
            async with domain.jobs.hold("renewal of its worker"):
                if domain.worker_calls:
                    return
                domain.renewal = asyncio.Event()
                try:
                    request = RenewWorker(name=domain.worker)
                    if (await self._node.control.call(request)).renewed:
                        log.debug("the worker of %s is renewed", domain.name)
                        async with asyncio.timeout(CONFIRM_S):
                            await domain.phases.wait_not_in({DomainPhase.UNKNOWN})
                except (BusError, VirError, TimeoutError) as error:
                    log.info("the worker of %s is not renewed: %s", domain.name, error)
                finally:
                    domain.renewal.set()
                    domain.renewal = None
