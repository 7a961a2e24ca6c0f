"""The user that a guest's QEMU runs as: chosen at its start, the same for what is plugged later.

Owns: the choice between the domain's label, a user of its own, and qemu.conf's.
May touch: the records of `DynamicUsers`.
"""

from __future__ import annotations

from conf.domain import Domain
from supervisor.runtime.emulator_user import User, emulator_user
from supervisor.workers.context import WorkerContext
from supervisor.workers.dynamic_users import DynamicUsers
from supervisor.workers.qemu.cgroup.placement import in_thread
from supervisor.workers.qemu.guest import Guest
from supervisor.workers.qemu.start import live_xml


def has_own_user(context: WorkerContext, domain: Domain) -> bool:
    """Return whether a guest gets a user of its own: not with a static label, or relabel='no'."""
    if context.session or not context.config.dynamic_users:
        return False
    return not live_xml.static_dac_label(domain) and live_xml.allows_relabel(domain)


async def choose_user(context: WorkerContext, domain: Domain) -> User:
    """Choose the user of a guest that starts.

    Raises:
        VirError: as `emulator_user` and `DynamicUsers.reserve`.
    """
    config = context.config
    if not has_own_user(context, domain):
        return emulator_user(config, live_xml.static_dac_label(domain))
    numbers = range(config.dynamic_users_min, config.dynamic_users_max + 1)
    users = DynamicUsers(
        context.paths.dynamic_users(), numbers, lambda name: context.paths.status(name).exists()
    )
    chosen: list[User] = []
    await in_thread(lambda: chosen.append(users.reserve(domain.uuid or "", domain.name)))
    return chosen[0]


def guest_user(guest: Guest) -> User:
    """Return the user of a running guest: as recorded at its start, whatever qemu.conf says now."""
    match guest.status.user:
        case [uid, gid, is_dynamic]:
            return User(uid, gid, "", groups=(gid,), is_dynamic=bool(is_dynamic))
    return emulator_user(guest.context.config, live_xml.static_dac_label(guest.domain))
