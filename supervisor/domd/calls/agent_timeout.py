"""virDomainAgentSetResponseTimeout: how long calls wait for a domain's guest agent.

Owns: the value, which a domain that is off keeps for its next start.
May touch: the guest's worker.
Source: libvirt 9.0, qemuDomainAgentSetResponseTimeout.
"""

from __future__ import annotations

from typing import Final

from rpc.enums import DomainAgentResponseTimeoutValues
from rpc.values import Domain as DomainId
from supervisor.dispatch.dispatcher import ClientCall
from supervisor.domd.registry import DomainRegistry
from supervisor.domd.workers import Workers
from supervisor.messages.worker import SetAgentTimeout

LEAST: Final = int(DomainAgentResponseTimeoutValues.BLOCK)


class AgentTimeoutCalls:
    """The call, which needs no change lock: it changes nothing that others read."""

    def __init__(self, registry: DomainRegistry, workers: Workers) -> None:
        self._registry = registry
        self._errors = registry.errors
        self._workers = workers

    async def domain_agent_set_response_timeout(
        self,
        call: ClientCall,
        dom: DomainId,
        timeout: int,  # noqa: ASYNC109  (the table's name)
        flags: int,
    ) -> int:
        """Set the timeout; return 0.

        Raises:
            VirError: INVALID_ARG: it is below -2; those of the worker.
        """
        self._errors.check_flags("DomainAgentSetResponseTimeout", flags)
        if timeout < LEAST:
            detail = f"guest agent timeout '{timeout}' is less than the minimum '{LEAST}'"
            raise self._errors.invalid_arg(detail)
        domain = self._registry.find(dom)
        if domain.is_active:
            await self._workers.call_running(domain, SetAgentTimeout(timeout=timeout))
        domain.agent_timeout = timeout
        return 0
