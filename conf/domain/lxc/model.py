"""What only containers have: mapped users, capabilities, variables, shared namespaces.

Owns: these parts of the model. Pure.
Source: libvirt 9.0 formatdomain, "Container boot", "IDs mapping", "Hypervisor features"; the lxc
driver's page, "Container environment" and "Inherit namespaces".
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, ClassVar, Final

from conf.errors import ConfError
from conf.mapper import Refusal, attribute, children, element, text
from conf.types.bool import on_off, write_on_off
from conf.types.enum import one_of
from conf.types.integer import uint

SHARES = one_of(
    "none",
    "name",
    "pid",
    "netns",
    unknown="Unknown LXC namespace source '{}'",
    kind="internal",
)
NO_SHARE: Final = Refusal("internal", "No lxc environment type specified")
BAD_RANGE: Final = Refusal("xml", "invalid idmap start/target/count settings")


def id_number(text: str) -> int:
    """Read a user's or group's number, or how many there are.

    Raises:
        ConfError: "xml": it is none.
    """
    try:
        return uint(text)
    except ValueError:
        raise ConfError(BAD_RANGE.kind, BAD_RANGE.message, "domain/idmap") from None


@element("uid")
@dataclass(slots=True, kw_only=True)
class IdRange:
    """<uid>, <gid>: a range of user or group IDs of the container and its first ID on the host."""

    start: int = attribute("@start", read=id_number, required=BAD_RANGE, default=0)
    target: int = attribute("@target", read=id_number, required=BAD_RANGE, default=0)
    count: int = attribute("@count", read=id_number, required=BAD_RANGE, default=0)


@element("idmap", omit_empty=True)
@dataclass(slots=True, kw_only=True)
class IdMap:
    """<idmap>: the mapping of the container's uids and gids to the host's."""

    uids: list[IdRange] = children("uid", IdRange)
    gids: list[IdRange] = children("gid", IdRange)

    def after_read(self) -> None:
        """Sort the ranges by the container's ids."""
        for ranges in (self.uids, self.gids):
            ranges.sort(key=lambda mapped: mapped.start)


@element("initenv")
@dataclass(slots=True, kw_only=True)
class InitVariable:
    """<initenv>: a variable in init's environment."""

    name: str | None = attribute("@name")
    value: str = text(".", default="")


def _state(name: str) -> Any:  # noqa: ANN401  (stands in a field's place)
    return attribute(f"{name}/@state", read=on_off, write=write_on_off, present=True)


@element("capabilities")
@dataclass(slots=True, kw_only=True)
class Capabilities:
    """<capabilities>: the kernel capabilities of the container's root."""

    #: A right of another name is refused: who takes one away must not be misunderstood.
    __unexpected__: ClassVar[str] = "unexpected capability feature"

    policy: str = attribute("@policy", read=one_of("default", "allow", "deny"), default="default")
    audit_control: bool | None = _state("audit_control")
    audit_write: bool | None = _state("audit_write")
    block_suspend: bool | None = _state("block_suspend")
    chown: bool | None = _state("chown")
    dac_override: bool | None = _state("dac_override")
    dac_read_search: bool | None = _state("dac_read_search")
    fowner: bool | None = _state("fowner")
    fsetid: bool | None = _state("fsetid")
    ipc_lock: bool | None = _state("ipc_lock")
    ipc_owner: bool | None = _state("ipc_owner")
    kill: bool | None = _state("kill")
    lease: bool | None = _state("lease")
    linux_immutable: bool | None = _state("linux_immutable")
    mac_admin: bool | None = _state("mac_admin")
    mac_override: bool | None = _state("mac_override")
    mknod: bool | None = _state("mknod")
    net_admin: bool | None = _state("net_admin")
    net_bind_service: bool | None = _state("net_bind_service")
    net_broadcast: bool | None = _state("net_broadcast")
    net_raw: bool | None = _state("net_raw")
    setgid: bool | None = _state("setgid")
    setfcap: bool | None = _state("setfcap")
    setpcap: bool | None = _state("setpcap")
    setuid: bool | None = _state("setuid")
    sys_admin: bool | None = _state("sys_admin")
    sys_boot: bool | None = _state("sys_boot")
    sys_chroot: bool | None = _state("sys_chroot")
    sys_module: bool | None = _state("sys_module")
    sys_nice: bool | None = _state("sys_nice")
    sys_pacct: bool | None = _state("sys_pacct")
    sys_ptrace: bool | None = _state("sys_ptrace")
    sys_rawio: bool | None = _state("sys_rawio")
    sys_resource: bool | None = _state("sys_resource")
    sys_time: bool | None = _state("sys_time")
    sys_tty_config: bool | None = _state("sys_tty_config")
    syslog: bool | None = _state("syslog")
    wake_alarm: bool | None = _state("wake_alarm")

    def states(self) -> dict[str, bool]:
        """Map each named capability to its state."""
        names = (field.name for field in fields(self) if field.name != "policy")
        return {name: getattr(self, name) for name in names if getattr(self, name) is not None}


@element("lxc:sharenet")
@dataclass(slots=True, kw_only=True)
class SharedNamespace:
    """<lxc:sharenet>, <lxc:shareipc>, <lxc:shareuts>: the source of one namespace."""

    type: str = attribute("@type", read=SHARES, required=NO_SHARE, default="none")
    value: str = attribute("@value", required=NO_SHARE, default="")


@element("lxc:namespace", omit_empty=True)
@dataclass(slots=True, kw_only=True)
class LxcNamespace:
    """<lxc:namespace>: namespaces that are not the container's own; at most one of a kind."""

    __unexpected__: ClassVar[str] = "unsupported Namespace feature:"

    net: list[SharedNamespace] = children("lxc:sharenet", SharedNamespace)
    ipc: list[SharedNamespace] = children("lxc:shareipc", SharedNamespace)
    uts: list[SharedNamespace] = children("lxc:shareuts", SharedNamespace)

    def after_read(self) -> None:
        """Keep the last element of each kind, and none that says "none"."""
        for shared in (self.net, self.ipc, self.uts):
            shared[:] = [last for last in shared[-1:] if last.type != "none"]

    def kinds(self) -> dict[str, list[SharedNamespace]]:
        """Map the name of each kind of namespace to its element."""
        return {"net": self.net, "ipc": self.ipc, "uts": self.uts}
