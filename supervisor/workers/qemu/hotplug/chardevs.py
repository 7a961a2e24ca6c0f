"""Translates -chardev to the arguments of `chardev-add`, which nest them. Pure.

Owns: that translation, for the backends that can be hotplugged.
"""

from __future__ import annotations

from typing import Final

from conf.errors import ConfError

Arguments = dict[str, object]
Members = dict[str, str]

#: Backend on the command line: its name in QMP.
PLAIN: Final = {"null": "null", "pty": "pty", "stdio": "stdio"}
PATHS: Final = {"serial": "serial", "parallel": "parallel", "pipe": "pipe"}
NAMED: Final = {"spicevmc": "type", "spiceport": "fqdn", "dbus": "name"}


def chardev_arguments(text: str) -> Arguments:
    """Return the arguments of `chardev-add` for the value of one -chardev.

    Raises:
        ConfError: "operation_unsupported": this backend cannot be hotplugged.
    """
    kind, members = parse_members(text)
    name, data = _backend(kind, members)
    common: Arguments = {}
    if "logfile" in members:
        common = {"logfile": members["logfile"], "logappend": members.get("logappend") == "on"}
    return {"id": members["id"], "backend": {"type": name, "data": data | common}}


def parse_members(text: str) -> tuple[str, Members]:
    """Parse `kind,name=value,…`; QEMU doubles a comma in a value."""
    parts = [part.replace("\0", ",") for part in text.replace(",,", "\0").split(",")]
    pairs = (part.partition("=") for part in parts[1:])
    return parts[0], {name: value for name, _, value in pairs}


def _backend(kind: str, members: Members) -> tuple[str, Arguments]:
    if kind in PLAIN:
        return PLAIN[kind], {}
    if kind in PATHS:
        return PATHS[kind], {"device": members["path"]}
    if kind in NAMED:
        return kind, {NAMED[kind]: members["name"]}
    match kind:
        case "socket":
            return "socket", _socket(members)
        case "udp":
            return "udp", _udp(members)
        case "file":
            return "file", {"out": members["path"], "append": members.get("append") == "on"}
    raise ConfError(
        "operation_unsupported", f"a character device of kind '{kind}' cannot be attached live"
    )


def _socket(members: Members) -> Arguments:
    data: Arguments = {"addr": _address(members), "server": members.get("server") == "on"}
    if "wait" in members:
        data["wait"] = members["wait"] == "on"
    if "telnet" in members:
        data["telnet"] = members["telnet"] == "on"
    for name in ("reconnect", "reconnect-ms"):
        if name in members:
            data[name] = int(members[name])
    return data


def _address(members: Members) -> Arguments:
    if "fd" in members:
        return {"type": "fd", "data": {"str": members["fd"]}}
    if "path" in members:
        return {"type": "unix", "data": {"path": members["path"]}}
    return _inet(members["host"], members["port"])


def _inet(host: str, port: str) -> Arguments:
    return {"type": "inet", "data": {"host": host, "port": port}}


def _udp(members: Members) -> Arguments:
    data: Arguments = {"remote": _inet(members.get("host", ""), members["port"])}
    if members.get("localaddr") or members.get("localport", "0") != "0":
        data["local"] = _inet(members.get("localaddr", ""), members.get("localport", "0"))
    return data
