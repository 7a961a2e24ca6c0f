"""virDomainSetLifecycleAction: what happens when a guest powers off, reboots or crashes.

Owns: which action an event may have. May touch: definitions, and the guest by its worker, through
`DomainChanger`.
Source: libvirt 9.0, virDomainSetLifecycleAction, virDomainDefLifecycleActionAllowed.
"""

from __future__ import annotations

from typing import Final

from conf.domain import Domain
from conf.domain.validate.lifecycle import check_lifecycle_actions
from rpc.enums import DomainLifecycle, DomainLifecycleAction
from rpc.errors import ErrorCode, ErrorDomain, VirError
from rpc.values import Domain as DomainId
from supervisor.dispatch.dispatcher import ClientCall
from supervisor.dispatch.service_errors import ServiceErrors
from supervisor.domd.change_domain import DomainChange, DomainChanger
from supervisor.messages.worker import SetLifecycleAction
from supervisor.objects.impact import IMPACT_FLAGS

#: The actions as the XML has them.
ACTIONS: Final = {
    DomainLifecycleAction.DESTROY: "destroy",
    DomainLifecycleAction.RESTART: "restart",
    DomainLifecycleAction.RESTART_RENAME: "rename-restart",
    DomainLifecycleAction.PRESERVE: "preserve",
    DomainLifecycleAction.COREDUMP_DESTROY: "coredump-destroy",
    DomainLifecycleAction.COREDUMP_RESTART: "coredump-restart",
}


class LifecycleActionCalls:
    """The call."""

    def __init__(self, changer: DomainChanger, errors: ServiceErrors) -> None:
        self._changer = changer
        self._errors = errors

    async def domain_set_lifecycle_action(
        self,
        call: ClientCall,
        dom: DomainId,
        type: int,
        action: int,
        flags: int,
    ) -> None:
        """Set one action, of the running guest, in the definition, or both.

        Raises:
            VirError: INVALID_ARG: no such event or action; CONFIG_UNSUPPORTED: the event cannot
                have it; OPERATION_INVALID; those of the worker.
        """
        event, value = read_action(type, action)
        self._errors.check_flags("DomainSetLifecycleAction", flags, IMPACT_FLAGS)
        check_allowed(event, value)
        field = f"on_{event}"

        def edit(domain: Domain) -> None:
            setattr(domain, field, value)
            check_lifecycle_actions(domain)

        change = DomainChange(
            name="set lifecycle action",
            edit=edit,
            live_request=lambda _: SetLifecycleAction(event=field, action=value),
            revalidates=False,
        )
        await self._changer.change_domain(dom, flags, change)


def read_action(event: int, action: int) -> tuple[str, str]:
    """Convert the client's numbers to the words of the XML, "poweroff" and "destroy".

    Raises:
        VirError: INVALID_ARG.
    """
    if event not in list(DomainLifecycle):
        raise _refusal(ErrorCode.INVALID_ARG, f"invalid lifecycle type '{event}'")
    if action not in ACTIONS:
        raise _refusal(ErrorCode.INVALID_ARG, f"invalid lifecycle action '{action}'")
    return DomainLifecycle(event).name.lower(), ACTIONS[DomainLifecycleAction(action)]


def check_allowed(event: str, action: str) -> None:
    """Refuse a dump of a guest that has not crashed.

    Raises:
        VirError: CONFIG_UNSUPPORTED.
    """
    if event != "crash" and action.startswith("coredump-"):
        detail = f"Lifecycle event '{event}' doesn't support '{action}' action"
        raise _refusal(ErrorCode.CONFIG_UNSUPPORTED, detail)


def _refusal(code: ErrorCode, detail: str) -> VirError:
    return VirError(code, detail, ErrorDomain.DOMAIN)
