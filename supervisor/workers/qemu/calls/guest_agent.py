"""What the guest agent tells of the guest and changes in it: info, users, keys, sleep.

Owns: nothing. May touch: the agent; QEMU, to ask whether its machine wakes up.
Source: libvirt 9.0, virDomainGetGuestInfo, virDomainSetUserPassword, virDomainAuthorizedSSHKeysGet,
virDomainAuthorizedSSHKeysSet, virDomainPMSuspendForDuration.
"""

from __future__ import annotations

import base64
from typing import Final

import msgspec

from conf.domain.model import Domain
from rpc.enums import DomainAuthorizedSSHKeysSetFlags as KeysFlags
from rpc.enums import DomainSetUserPasswordFlags as PasswordFlags
from rpc.enums import NodeSuspendTarget as Target
from rpc.errors import ErrorCode, ErrorDomain, VirError
from rpc.values import Domain as DomainId
from rpc.values import TypedParam
from supervisor.dispatch.dispatcher import ClientCall
from supervisor.drivers.qemu import QEMU
from supervisor.workers.qemu.agent import guest_agent, guest_info
from supervisor.workers.qemu.agent.replies import AuthorizedKeys
from supervisor.workers.qemu.guest import GuestProvider

MAX_PARAMETERS: Final = 2048  # REMOTE_DOMAIN_GUEST_INFO_PARAMS_MAX
MAX_KEYS: Final = 2048  # REMOTE_DOMAIN_AUTHORIZED_SSH_KEYS_MAX
SUSPEND_COMMANDS: Final = {
    Target.MEM: "guest-suspend-ram",
    Target.DISK: "guest-suspend-disk",
    Target.HYBRID: "guest-suspend-hybrid",
}
ASLEEP: Final = ("SUSPEND", "SUSPEND_DISK")  # QEMU's events


class CurrentMachine(msgspec.Struct, frozen=True, rename="kebab"):
    """`query-current-machine`."""

    wakeup_suspend_support: bool = False


class GuestAgentCalls:
    """Calls on the guest by its agent."""

    def __init__(self, worker: GuestProvider) -> None:
        self._worker = worker

    async def domain_get_guest_info(
        self, call: ClientCall, dom: DomainId, types: int, flags: int
    ) -> list[TypedParam]:
        """Query what the agent knows: of these types, or for 0 all that it can tell.

        Raises:
            VirError: RPC: more than the protocol takes; those of the
                agent.
        """
        guest = self._worker.guest()
        guest_agent.require_agent(guest)
        values = await guest_info.query(guest, types)
        if len(values) > MAX_PARAMETERS:
            detail = f"too many parameters '{len(values)}' for limit '{MAX_PARAMETERS}'"
            raise VirError(ErrorCode.RPC, detail, ErrorDomain.RPC)
        return values

    async def domain_set_user_password(
        self, call: ClientCall, dom: DomainId, user: str | None, password: str | None, flags: int
    ) -> None:
        """Set a user's password; with ENCRYPTED it is a hash of it.

        Raises:
            VirError: those of the agent.
        """
        assert user is not None, "domd has checked that"
        assert password is not None, "domd has checked that"
        arguments = {
            "crypted": bool(flags & PasswordFlags.ENCRYPTED),
            "username": user,
            "password": base64.b64encode(password.encode()).decode(),
        }
        await guest_agent.execute(self._worker.guest(), "guest-set-user-password", arguments)

    async def domain_authorized_ssh_keys_get(
        self, call: ClientCall, dom: DomainId, user: str, flags: int
    ) -> list[str]:
        """Query the public keys by which a user of the guest may log in.

        Raises:
            VirError: RPC: more than the protocol takes; those of the agent.
        """
        command, arguments = "guest-ssh-get-authorized-keys", {"username": user}
        guest = self._worker.guest()
        keys = (await guest_agent.query(guest, command, AuthorizedKeys, arguments)).keys
        if len(keys) > MAX_KEYS:
            detail = f"Too many keys '{len(keys)}' for limit '{MAX_KEYS}'"
            raise VirError(ErrorCode.RPC, detail, ErrorDomain.RPC)
        return keys

    async def domain_authorized_ssh_keys_set(
        self, call: ClientCall, dom: DomainId, user: str, keys: list[str], flags: int
    ) -> None:
        """Replace a user's keys by these; APPEND adds them, REMOVE removes them.

        Raises:
            VirError: those of the agent.
        """
        guest = self._worker.guest()
        arguments: dict[str, object] = {"username": user, "keys": keys}
        if flags & KeysFlags.REMOVE:
            await guest_agent.execute(guest, "guest-ssh-remove-authorized-keys", arguments)
            return
        arguments["reset"] = not flags & KeysFlags.APPEND
        await guest_agent.execute(guest, "guest-ssh-add-authorized-keys", arguments)

    async def domain_pm_suspend_for_duration(
        self, call: ClientCall, dom: DomainId, target: int, duration: int, flags: int
    ) -> None:
        """Have the guest suspend itself to memory, disk, or both; it sleeps until it is woken.

        Raises:
            VirError: OPERATION_UNSUPPORTED: the machine does not wake up, or its XML forbids that
                sleep; those of the agent.
        """
        guest = self._worker.guest()
        machine = await guest.monitor.query("query-current-machine", CurrentMachine)
        if not machine.wakeup_suspend_support:
            raise QEMU.errors.operation_unsupported("Domain does not have suspend support")
        check_sleep_allowed(guest.domain, Target(target))
        command = SUSPEND_COMMANDS[Target(target)]
        await guest_agent.execute_until_event(guest, command, ASLEEP)


def check_sleep_allowed(domain: Domain, target: Target) -> None:
    """Refuse a state of sleep that <pm> disables.

    Raises:
        VirError: OPERATION_UNSUPPORTED.
    """
    if domain.pm is None:
        return
    if domain.pm.suspend_to_mem is False and target in (Target.MEM, Target.HYBRID):
        raise QEMU.errors.operation_unsupported("S3 state is disabled for this domain")
    if domain.pm.suspend_to_disk is False and target is Target.DISK:
        raise QEMU.errors.operation_unsupported("S4 state is disabled for this domain")
