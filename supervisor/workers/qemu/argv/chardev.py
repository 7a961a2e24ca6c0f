"""-chardev: the host side of serial lines, consoles, channels and the like.

Owns: every kind of source and its <log>.
May touch: values only; descriptors come from the worker.
"""

from __future__ import annotations

from conf.domain.devices.address import VirtioSerialAddress
from conf.domain.devices.chardev import CharDevice, CharSource
from conf.errors import ConfError
from supervisor.workers.qemu.argv.launch_inputs import Context, Options
from supervisor.workers.qemu.argv.syntax import Option as Value
from supervisor.workers.qemu.argv.syntax import options_of

Members = dict[str, Value]


def chardev(
    context: Context, alias: str, source: CharSource, *, name: str | None = None
) -> Options:
    """Build the chardev `char<alias>` and the credentials that it needs.

    Args:
        context: the plan's inputs.
        alias: of the device it belongs to.
        source: its <source>, <protocol> and <log>.
        name: what a spicevmc channel is for.
    """
    kind, members = _backend(context, alias, source, name=name)
    members |= _log(context, alias, source)
    for fds in (context.inputs.char_fds, context.inputs.log_fds):
        if alias in fds:
            yield "-add-fd", f"set={fds[alias]},fd={fds[alias]},opaque={alias}"
    yield "-chardev", options_of((kind,), {"id": f"char{alias}", **members})


def _backend(
    context: Context, alias: str, source: CharSource, *, name: str | None
) -> tuple[str, Members]:
    """Choose the backend type of a chardev and its members."""
    match source.type:
        case "null" | "vc" | "pty" | "stdio":
            return source.type, {}
        case "unix":
            return "socket", _unix(context, alias, source)
        case "tcp":
            return "socket", _tcp(context, source)
        case "udp":
            return "udp", _udp(source)
        case "file":
            return "file", _file(context, alias, source)
        case "dev":
            kind = "parallel" if alias.startswith("parallel") else "serial"
            return kind, {"path": source.path}
        case "pipe":
            return "pipe", {"path": source.path}
    return _special(alias, source, name=name)


def _special(alias: str, source: CharSource, *, name: str | None) -> tuple[str, Members]:
    """Choose the backends that belong to a display: spicevmc, spiceport, dbus."""
    match source.type:
        case "spicevmc":
            return "spicevmc", {"name": name}
        case "spiceport":
            return "spiceport", {"name": source.channel}
        case "dbus":
            return "dbus", {"name": source.channel}
        case "qemu-vdagent":
            return "qemu-vdagent", _agent(source)
    raise ConfError(
        "config_unsupported", f"unsupported chardev '{source.type}' of device '{alias}'"
    )


def _udp(source: CharSource) -> Members:
    return {
        "host": source.connect_host or "",
        "port": source.connect_service,
        "localaddr": source.bind_host or "",
        "localport": source.bind_service or "0",
    }


def _file(context: Context, alias: str, source: CharSource) -> Members:
    number = context.inputs.char_fds.get(alias)
    if number is not None:
        return {"path": f"/dev/fdset/{number}", "append": True}
    return {"path": source.path, "append": source.append}


def _log(context: Context, alias: str, source: CharSource) -> Members:
    if source.log_file is None:
        return {}
    number = context.inputs.log_fds.get(alias)
    if number is not None:
        return {"logfile": f"/dev/fdset/{number}", "logappend": True}
    return {"logfile": source.log_file, "logappend": source.log_append}


def _reconnect(context: Context, source: CharSource) -> Members:
    if source.reconnect is None or source.reconnect.enabled is None or source.listens:
        return {}
    seconds = (source.reconnect.timeout or 0) if source.reconnect.enabled else 0
    # QEMU 9.2 deprecates the option that counts seconds.
    if "reconnect-ms" in context.facts.options.get("chardev", ()):
        return {"reconnect-ms": seconds * 1000}
    return {"reconnect": seconds}


def _server(source: CharSource) -> Members:
    return {"server": True, "wait": False} if source.listens else {}


def _unix(context: Context, alias: str, source: CharSource) -> Members:
    if alias in context.inputs.socket_fds:
        return {"fd": str(context.inputs.socket_fds[alias]), **_server(source)}
    return {"path": _socket_path(context, source), **_server(source), **_reconnect(context, source)}


def _socket_path(context: Context, source: CharSource) -> str | None:
    """Locate the socket; a channel without a path has one in the domain's directory."""
    if source.path is not None or not isinstance(source, CharDevice):
        return source.path
    if source.target_type != "virtio":
        return None
    name = source.target_name
    if name is None:
        address = source.address
        place = (0, 0, 0)
        if isinstance(address, VirtioSerialAddress):
            place = (address.controller, address.bus, address.port)
        name = "vioser-{:02d}-{:02d}-{:02d}.sock".format(*place)
    return f"{context.inputs.channel_dir}/{name}"


def _tcp(context: Context, source: CharSource) -> Members:
    """Build a raw or telnet TCP connection."""
    host, service = (
        (source.bind_host, source.bind_service)
        if source.listens
        else (source.connect_host, source.connect_service)
    )
    return {
        "host": host,
        "port": service,
        "telnet": True if source.protocol == "telnet" else None,
        **_server(source),
        **_reconnect(context, source),
    }


def _agent(source: CharSource) -> Members:
    """Build the vdagent backend, which replaces the agent's channel where there is no SPICE."""
    members: Members = {"name": "vdagent"}
    if source.clipboard is not None:
        members["clipboard"] = source.clipboard
    if source.mouse is not None:
        members["mouse"] = source.mouse == "client"
    return members
