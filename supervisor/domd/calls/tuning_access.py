"""TuningAccess: how the tuning calls read and change a domain's limits.

Owns: the order: the definition is planned first, then the guest changes, then the definition is
kept. So what is refused changes nothing.
May touch: definitions; guests, through their workers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Final, TypeVar

from conf.domain import Domain
from ipc import Request
from rpc.enums import DomainModificationImpact as Impact
from rpc.params import declared, read_params, typed
from rpc.values import Domain as DomainId
from rpc.values import TypedParam
from supervisor.domd.calls.tuning_values import Values
from supervisor.domd.change_domain import DomainChange, DomainChanger
from supervisor.domd.domain import Definition, DomainObject
from supervisor.domd.limit_files import LimitFiles
from supervisor.domd.registry import DomainRegistry
from supervisor.domd.workers import Workers
from supervisor.drivers.driver import TYPED_STRINGS, Driver
from supervisor.messages.worker import GetTuning, SetTuning, StatsParam
from supervisor.objects.cgroup_controllers import require_controller
from supervisor.objects.impact import select_for_query
from supervisor.objects.tuning_edits import FIELDS

#: What libvirt calls the tuning that a controller does.
TUNING: Final = {"cpu": "CPU", "memory": "Memory", "blkio": "Block I/O", "cpuset": "NUMA"}

Edit = Callable[[Domain], object]
#: Gets the running guest's definition; None: the change does not concern a running guest.
Check = Callable[[Definition | None], None]
R = TypeVar("R")


class TuningAccess:
    """The limits of one driver's domains."""

    def __init__(
        self,
        registry: DomainRegistry,
        changer: DomainChanger,
        workers: Workers,
        driver: Driver,
        *,
        session: bool = False,
    ) -> None:
        """Give access.

        Args:
            registry: the domains.
            changer: changes them.
            workers: ask guests.
            driver: of the domains.
            session: whether the daemon is a user's, whose guests have no cgroup.
        """
        self.registry = registry
        self.errors = registry.errors
        self.changer = changer
        self._workers = workers
        self._limit_files = LimitFiles()
        self._driver = driver
        self._session = session

    def refuse_in_session(self, controller: str) -> None:
        """Refuse a tuning call of a user's daemon.

        Raises:
            VirError: OPERATION_UNSUPPORTED.
        """
        if self._session:
            detail = f"{TUNING[controller]} tuning is not available in session mode"
            raise self.errors.operation_unsupported(detail)

    async def ask_guest(self, domain: DomainObject, request: Request[R]) -> R:
        """Ask a running guest's worker. Raises: as `Workers.call_running`."""
        return await self._workers.call_running(domain, request)

    def require_controller(self, domain: DomainObject, controller: str) -> None:
        """Refuse a call on a running guest that is in no cgroup with a controller.

        Of a guest that a previous domd left, that is not known before its worker has reported.

        Raises:
            VirError: OPERATION_INVALID.
        """
        if domain.runtime is not None and is_reported(domain):
            present = controller in domain.runtime.status.controllers
            require_controller(controller, domain.errors, present=present)

    async def read_live(self, domain: DomainObject, controller: str) -> dict[str, int]:
        """Read a running guest's limits from the kernel, by parameter.

        Raises:
            VirError: OPERATION_INVALID: it is in no cgroup with that controller.
        """
        cpu = controller == "cpu"
        if cpu and (values := self._limit_files.read(domain)) is not None:
            return values
        request = GetTuning(controller=controller, open_files=cpu)
        sampled = await self._workers.call_running(domain, request)
        if cpu:
            self._limit_files.keep(domain, sampled)
        return {statistic.field: int(statistic.value) for statistic in sampled.statistics}

    async def read(
        self,
        dom: DomainId,
        flags: int,
        controller: str,
        names: tuple[str, ...],
        of: Callable[[Domain], Values],
    ) -> list[TypedParam]:
        """Read limits: of the definition, or of the running guest what the kernel has.

        Raises:
            VirError: NO_DOMAIN; OPERATION_INVALID: as `select_for_query` and `read_live`.
        """
        domain = self.registry.find(dom)
        definition = select_for_query(domain, flags)
        values: dict[str, int | str] = {}
        if domain.is_active and not flags & Impact.CONFIG:
            values |= await self.read_live(domain, controller)
        if not values.keys() >= set(names):  # the live XML is parsed for what the kernel has not
            values = {**of(definition.resources), **values}
        return shown({name: values[name] for name in names}, flags)

    async def read_some(
        self,
        dom: DomainId,
        nparams: int,
        flags: int,
        controller: str,
        names: tuple[str, ...],
        of: Callable[[Domain], Values],
    ) -> tuple[list[TypedParam], int]:
        """Return the first parameters; for none, how many there are (virTypedParameter's way)."""
        parameters = await self.read(dom, flags, controller, names, of)
        if nparams == 0:
            return [], len(names)
        return parameters[:nparams], min(nparams, len(parameters))

    async def change(
        self,
        dom: DomainId,
        flags: int,
        edit: Edit,
        *,
        controller: str,
        values: Mapping[str, int | str],
        check: Check | None = None,
        tunable: Iterable[StatsParam] = (),
        revalidates: bool = False,
    ) -> None:
        """Change the definition, the running guest, or both.

        Args:
            dom: the domain as the client names it.
            flags: virDomainModificationImpact.
            edit: edits a definition.
            controller: of `SetTuning`, which the running guest must have.
            values: of `SetTuning`.
            check: refuses the change before it is planned.
            tunable: of the event that follows a change of the running guest.
            revalidates: whether the emulator is asked what it makes of the edited definition.

        Raises:
            VirError, ConfError: as `DomainChanger.change_domain`.
        """
        request = SetTuning(controller=controller, values=dict(values), tunable=tuple(tunable))
        domain = self.registry.find(dom)
        before: int | None = None  # None: the running guest is not changed

        def live_request(_: Definition) -> SetTuning:
            nonlocal before
            before = domain.runtime.status.xml_version if domain.runtime is not None else None
            return request

        change = DomainChange(
            name="tuning",
            edit=edit,
            check=None if check is None else lambda live, _: check(live),
            live_request=live_request,
            revalidates=revalidates,
            fields=FIELDS[controller],
        )
        await self.changer.change_domain(dom, flags, change)
        if before is not None:
            self._limit_files.limits_changed(domain, before)


def is_reported(domain: DomainObject) -> bool:
    """Return whether this domd knows a running guest from its worker, not from a status file."""
    return domain.runtime is None or domain.runtime.status.reported_ns > 0


def read_values(params: list[TypedParam], names: tuple[str, ...]) -> dict[str, int]:
    """Read a client's typed parameters, all of them numbers.

    Raises:
        VirError: ARGUMENT_UNSUPPORTED: an unknown parameter; INVALID_ARG: one of the wrong type.
    """
    return {name: int(value) for name, value in read_any(params, names).items()}


def read_any(params: list[TypedParam], names: tuple[str, ...]) -> dict[str, int | str]:
    """Read a client's typed parameters, numbers or strings.

    Raises:
        VirError: ARGUMENT_UNSUPPORTED: an unknown parameter; INVALID_ARG: one of the wrong type.
    """
    values_by_name = read_params(params, declared(*names))
    return {
        name: value if isinstance(value := values[-1], str) else int(value)
        for name, values in values_by_name.items()
    }


def shown(values: Values, flags: int) -> list[TypedParam]:
    """Make typed parameters; a client whose flags do not say that it knows strings gets none."""
    strings = flags & TYPED_STRINGS
    return typed(
        {name: value for name, value in values.items() if strings or not isinstance(value, str)}
    )
