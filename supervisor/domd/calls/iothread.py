"""virDomain calls about iothreads: listing, adding, removing and tuning them.

Owns: one method per procedure, named as in the table.
May touch: definitions and running guests, through `change_domain`.
Source: libvirt 9.0, qemuDomainAddIOThread, qemuDomainSetIOThreadParams; measured.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Final

from conf.domain import Domain
from conf.domain.iothreads import (
    UNSET,
    add_iothread,
    check_new_iothread,
    check_unused_iothread,
    remove_iothread,
    set_thread_pool,
)
from conf.errors import ConfError
from ipc import Request
from rpc.enums import DomainModificationImpact as Impact
from rpc.errors import ErrorCode, ErrorDomain
from rpc.params import declared, read_params
from rpc.values import Domain as DomainId
from rpc.values import DomainIothreadInfo, TypedParam
from supervisor.dispatch.dispatcher import ClientCall
from supervisor.dispatch.errors import from_conf_error
from supervisor.domd.calls.pinning import has_iothread
from supervisor.domd.calls.query import cpumap
from supervisor.domd.change_domain import DomainChange, DomainChanger
from supervisor.domd.domain import Definition
from supervisor.domd.registry import DomainRegistry
from supervisor.messages.worker import DomainStatus
from supervisor.messages.worker_resources import AddIothread, RemoveIothread, SetIothread
from supervisor.objects.impact import IMPACT_FLAGS, select_for_query

POLLING: Final = ("poll_max_ns", "poll_grow", "poll_shrink")
POOL: Final = ("thread_pool_min", "thread_pool_max")
MAX_INT: Final = 2**31 - 1  # QEMU's properties are signed integers of 32 bits here


class IothreadCalls:
    """The calls of one driver."""

    def __init__(self, registry: DomainRegistry, changer: DomainChanger) -> None:
        self._registry = registry
        self._errors = registry.errors
        self._changer = changer

    def domain_get_iothread_info(
        self, call: ClientCall, dom: DomainId, flags: int
    ) -> tuple[list[DomainIothreadInfo], int]:
        """Return the iothreads and the host CPUs that each may use, live or of the definition.

        Raises:
            VirError: INVALID_ARG, OPERATION_INVALID: as `select_for_query`.
        """
        self._errors.check_flags("DomainGetIOThreadInfo", flags, IMPACT_FLAGS)
        domain = select_for_query(self._registry.find(dom), flags).domain
        cpus = os.cpu_count() or 1
        tune = domain.cputune
        pins = {pin.iothread: pin.cpuset for pin in tune.iothreadpins} if tune else {}
        infos = [
            DomainIothreadInfo(thread.id, cpumap(pins.get(thread.id), cpus))
            for thread in domain.iothread_list()
        ]
        return infos, len(infos)

    async def domain_add_iothread(
        self, call: ClientCall, dom: DomainId, iothread_id: int, flags: int
    ) -> None:
        """Add an iothread.

        Raises:
            VirError: INVALID_ARG: the id is 0 or in use; OPERATION_INVALID.
        """
        self._errors.check_flags("DomainAddIOThread", flags, IMPACT_FLAGS)
        self._check_id(iothread_id)
        await self._change(
            dom,
            flags,
            lambda domain, _: check_new_iothread(domain, iothread_id),
            lambda domain: add_iothread(domain, iothread_id),
            AddIothread(id=iothread_id),
        )

    async def domain_del_iothread(
        self, call: ClientCall, dom: DomainId, iothread_id: int, flags: int
    ) -> None:
        """Remove an iothread that no disk or controller uses.

        Raises:
            VirError: INVALID_ARG: there is none of the id, or it is used; OPERATION_INVALID.
        """
        self._errors.check_flags("DomainDelIOThread", flags, IMPACT_FLAGS)
        self._check_id(iothread_id)
        await self._change(
            dom,
            flags,
            lambda domain, _: check_unused_iothread(domain, iothread_id),
            lambda domain: remove_iothread(domain, iothread_id),
            RemoveIothread(id=iothread_id),
        )

    async def domain_set_iothread_params(
        self,
        call: ClientCall,
        dom: DomainId,
        iothread_id: int,
        params: list[TypedParam],
        flags: int,
    ) -> None:
        """Set how an iothread polls (live alone), and the size of its thread pool.

        Raises:
            VirError: ARGUMENT_UNSUPPORTED, INVALID_ARG: a parameter or the id;
                OPERATION_UNSUPPORTED: polling in the definition; CONFIG_UNSUPPORTED,
                OPERATION_INVALID: a value.
        """
        self._errors.check_flags("DomainSetIOThreadParams", flags, IMPACT_FLAGS)
        self._check_id(iothread_id)
        given = read_params(params, declared(*POLLING, *POOL))
        values = {name: int(listed[-1]) for name, listed in given.items()}
        self._check_values(values)
        pool = [values.get(name) for name in POOL]

        def check(domain: Domain, impact: Impact) -> None:
            if impact is Impact.CONFIG and values.keys() & set(POLLING):
                detail = "configuring persistent polling values is not supported"
                raise self._errors.operation_unsupported(detail)
            if not has_iothread(domain, iothread_id):
                detail = f"cannot find IOThread '{iothread_id}' in iothreadids"
                raise self._errors.invalid_arg(detail)

        await self._change(
            dom,
            flags,
            check,
            lambda domain: set_thread_pool(domain, iothread_id, *pool, live=False),
            SetIothread(id=iothread_id, **values),
            domain_of_refusals=self._errors.domain,
        )

    def _check_id(self, number: int) -> None:
        if number == 0:
            raise self._errors.invalid_arg("invalid value of 0 for iothread_id")

    def _check_values(self, values: Mapping[str, int]) -> None:
        for name in POLLING:
            if values.get(name, 0) > MAX_INT:
                option = name.replace("_", "-")
                detail = f"{option} ({values[name]}) must be less than or equal to {MAX_INT}"
                raise self._errors.error(ErrorCode.CONFIG_UNSUPPORTED, detail)
        for name in POOL:
            if values.get(name, 0) < UNSET:
                detail = f"{name} ({values[name]}) must be equal to or greater than {UNSET}"
                raise self._errors.error(ErrorCode.CONFIG_UNSUPPORTED, detail)

    async def _change(
        self,
        dom: DomainId,
        flags: int,
        check: Callable[[Domain, Impact], None],
        edit: Callable[[Domain], None],
        request: Request[DomainStatus],
        *,
        domain_of_refusals: ErrorDomain = ErrorDomain.DOMAIN,
    ) -> None:
        """Change iothreads; `check` gets a definition and which it is."""

        def check_both(live: Definition | None, config: Definition | None) -> None:
            try:
                if live is not None:
                    check(live.domain, Impact.LIVE)
                if config is not None:
                    check(config.domain, Impact.CONFIG)
            except ConfError as error:
                raise from_conf_error(error) from error

        def checked_edit(domain: Domain) -> None:
            try:
                edit(domain)
            except ConfError as error:
                raise from_conf_error(error, domain_of_refusals) from error

        change = DomainChange(
            name="iothreads", edit=checked_edit, live_request=lambda _: request,
            revalidates=False, check=check_both,
        )  # fmt: skip
        await self._changer.change_domain(dom, flags, change)
