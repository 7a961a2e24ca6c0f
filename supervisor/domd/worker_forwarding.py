"""WorkerForwarding: forwards clients' calls with `owner=worker` to the domain's worker.

Owns: which worker a call is for. May touch: workers over the bus.
May not touch: what calls mean.
"""

from __future__ import annotations

from typing import Any, Final

from ipc import BusError, Node
from rpc import table
from rpc.errors import ErrorCode, ErrorDomain, VirError
from rpc.table import Procedure
from rpc.values import Domain as DomainId
from supervisor.dispatch.dispatcher import ClientCall, refuse_exclusive
from supervisor.dispatch.errors import no_reply
from supervisor.domd.calls.offline import OfflineCalls
from supervisor.domd.domain import DomainObject
from supervisor.domd.registry import DomainRegistry, not_running
from supervisor.drivers.driver import Driver
from supervisor.messages.calls import ClientReply, ClientRequest

FORWARD_S: Final = 60.0  # workers have shorter deadlines of their own
LONG_S: Final = 2 * 3600.0  # of `long` procedures: above the hour that workers give the agent


class WorkerForwarding:
    """Forwards one driver's calls."""

    def __init__(self, node: Node, registry: DomainRegistry, driver: Driver) -> None:
        self._node = node
        self._driver = driver
        self._registry = registry
        self._offline = OfflineCalls(registry)
        self._table = table.load()

    async def forward(self, invoke: ClientRequest) -> ClientReply:
        """Forward a call to the worker of the domain that is its first argument.

        Flags and arguments are checked here, before the domain is looked up, as in libvirt's
        drivers: a domain that is off refuses unsupported flags, too.

        Raises:
            VirError: INVALID_ARG, ARGUMENT_UNSUPPORTED: unsupported flags or arguments;
                NO_DOMAIN; OPERATION_INVALID: the domain is off; the worker's error.
        """
        try:
            procedure, domain, arguments = self._target(invoke)
            if not domain.is_active:
                return await self._answer_offline(invoke, procedure, domain, arguments)
        except VirError:
            for descriptor in invoke.descriptors:
                descriptor.close()
            raise
        if not procedure.changes:
            return await self._call_worker(invoke, procedure, domain)
        async with domain.jobs.hold(procedure.name):
            return await self._call_worker(invoke, procedure, domain)

    async def _call_worker(
        self, invoke: ClientRequest, procedure: Procedure, domain: DomainObject
    ) -> ClientReply:
        """Have the worker of an active domain answer, if it is one still.

        Raises:
            VirError: OPERATION_INVALID: the domain is off; the worker's error.
        """
        try:
            if domain.renewal is not None:  # which has its own deadlines
                await domain.renewal.wait()
            if not domain.is_active:
                raise not_running(domain)
            link = self._node.link(domain.worker)
        except BaseException:
            for descriptor in invoke.descriptors:
                descriptor.close()
            raise
        domain.worker_calls += 1
        try:
            return await link.call(invoke, deadline_s=LONG_S if procedure.long else FORWARD_S)
        except BusError as error:
            if not domain.is_active:
                raise not_running(domain) from error
            raise no_reply(
                f"the worker of '{domain.name}'",
                procedure.name,
                error,
                lost=ErrorCode.OPERATION_FAILED,
                domain=domain.errors.domain,
            ) from error
        finally:
            domain.worker_calls -= 1

    async def _answer_offline(
        self,
        invoke: ClientRequest,
        procedure: Procedure,
        domain: DomainObject,
        arguments: tuple[Any, ...],
    ) -> ClientReply:
        """Answer a call on a domain that is off, if it is one of `OfflineCalls`.

        Raises:
            VirError: OPERATION_INVALID: it needs the guest; the method's error.
        """
        method = getattr(self._offline, procedure.name, None)
        if method is None:
            raise not_running(domain)
        result = await method(ClientCall(invoke.client, invoke.descriptors), *arguments)
        return ClientReply(payload=procedure.encode_ret(result))

    def _target(self, invoke: ClientRequest) -> tuple[Procedure, DomainObject, tuple[Any, ...]]:
        program = self._table.program(invoke.program)
        procedure = program.procedure(invoke.procedure) if program else None
        if procedure is None:
            detail = f"procedure {invoke.procedure} of program {invoke.program:#x}"
            raise VirError(ErrorCode.NO_SUPPORT, detail, ErrorDomain.RPC)
        try:
            arguments = procedure.decode_args(invoke.payload)
            domain = arguments[0]
        except (ValueError, IndexError) as error:
            detail = f"the arguments of {procedure.name} cannot be read: {error}"
            raise VirError(ErrorCode.RPC, detail, ErrorDomain.RPC) from error
        if procedure.owner != "worker" or not isinstance(domain, DomainId):
            raise self._registry.errors.error(ErrorCode.NO_SUPPORT, procedure.name)
        if procedure.args[-1].name == "flags":
            self._driver.check_flags(procedure.api.removeprefix("vir"), arguments[-1])
            refuse_exclusive(procedure, arguments)
        check = self._driver.argument_checks.get(procedure.name)
        if check is not None:
            check(*arguments[1:])
        return procedure, self._registry.find(domain), arguments
