"""Sources on the network: NBD, iSCSI, RBD, Gluster, HTTP, SSH, NFS, Sheepdog.

Owns: the protocol node of each, its credentials and secrets.
May touch: values only.
"""

from __future__ import annotations

from typing import Final

from conf.domain.devices.disk_defaults import PORTS
from conf.domain.devices.source import Source, SourceHost
from conf.errors import ConfError
from supervisor.workers.qemu.argv.launch_inputs import Context, Options, Props, obj
from supervisor.workers.qemu.argv.secrets import ceph_key, find_secret, secret_object
from supervisor.workers.qemu.argv.syntax import Json

GLUSTER_DEBUG: Final = 4


def network_node(context: Context, source: Source, name: str) -> Props:
    """Build the protocol node of a network source; its secrets are named after `name`."""
    match source.protocol:
        case "nbd":
            return _nbd(source, name)
        case "iscsi":
            return _iscsi(source, name)
        case "rbd":
            return _rbd(source, name)
        case "gluster":
            return _gluster(source)
        case "http" | "https" | "ftp" | "ftps" | "tftp":
            return _curl(source, name)
        case "ssh":
            return _ssh(source)
        case "nfs":
            return _nfs(source)
        case "sheepdog":
            host = _one_host(source)
            return {"driver": "sheepdog", "server": _inet(host), "vdi": source.name}
    raise ConfError(
        "config_unsupported", f"{source.protocol} protocol is not supported with this QEMU binary"
    )


def _one_host(source: Source) -> SourceHost:
    if len(source.hosts) != 1:
        raise ConfError("internal", f"protocol '{source.protocol}' accepts only one host")
    return source.hosts[0]


def _inet(host: SourceHost) -> dict[str, Json]:
    """Convert a server's address to QEMU's InetSocketAddress or its Unix form."""
    if host.transport == "unix":
        return {"type": "unix", "path": host.socket or ""}
    return {"type": "inet", "host": host.name or "", "port": str(host.port)}


def _nbd(source: Source, name: str) -> Props:
    tls = f"obj{name}_tls0" if source.tls else None
    return {
        "driver": "nbd",
        "server": _inet(_one_host(source)),
        "export": source.name,
        "tls-creds": tls,
        "tls-hostname": source.tls_hostname if source.tls else None,
        "reconnect-delay": source.reconnect.timeout if source.reconnect else None,
    }


def _iscsi(source: Source, name: str) -> Props:
    host = _one_host(source)
    target, _, lun = (source.name or "").rpartition("/")
    if not lun.isdecimal():
        target, lun = source.name or "", "0"
    port = f"[{host.name}]" if ":" in (host.name or "") else host.name
    return {
        "driver": "iscsi",
        "portal": f"{port}:{host.port or PORTS['iscsi']}",
        "target": target,
        "lun": int(lun),
        "transport": "tcp",
        "user": source.auth.username if source.auth else None,
        "password-secret": f"{name}-auth-secret0" if source.auth else None,
        "initiator-name": source.initiator,
    }


def _rbd(source: Source, name: str) -> Props:
    pool, _, image = (source.name or "").partition("/")
    servers: list[Json] = [{"host": h.name or "", "port": str(h.port)} for h in source.hosts]
    auth = source.auth
    return {
        "driver": "rbd",
        "pool": pool,
        "image": image,
        "snapshot": source.snapshot,
        "conf": source.config_file,
        "server": servers or None,
        "user": auth.username if auth else None,
        "auth-client-required": ["cephx", "none"] if auth else None,
        "key-secret": f"{name}-auth-secret0" if auth else None,
    }


def _gluster(source: Source) -> Props:
    volume, _, path = (source.name or "").partition("/")
    return {
        "driver": "gluster",
        "volume": volume,
        "path": path,
        "server": [_inet(host) for host in source.hosts],
        "debug": GLUSTER_DEBUG,
    }


def _curl(source: Source, name: str) -> Props:
    host = _one_host(source)
    address = f"[{host.name}]" if ":" in (host.name or "") else host.name
    path = (source.name or "").lstrip("/")
    query = f"?{source.query}" if source.query else ""
    auth = source.auth
    return {
        "driver": source.protocol,
        "url": f"{source.protocol}://{address}:{host.port}/{path}{query}",
        "username": auth.username if auth else None,
        "password-secret": f"{name}-auth-secret0" if auth else None,
        "sslverify": source.ssl_verify,
        "cookie-secret": f"{name}-httpcookie-secret0" if source.cookies else None,
        "timeout": source.timeout,
        "readahead": source.readahead,
    }


def _ssh(source: Source) -> Props:
    host = _one_host(source)
    return {
        "driver": "ssh",
        "path": source.name,
        "server": {"host": host.name or "", "port": str(host.port)},
        "user": source.auth.username if source.auth else None,
        "host-key-check": {"mode": "none"},
    }


def _nfs(source: Source) -> Props:
    host = _one_host(source)
    return {
        "driver": "nfs",
        "server": {"host": host.name or "", "type": "inet"},
        "path": source.name,
        "user": source.identity_user,
        "group": source.identity_group,
    }


def credentials(context: Context, source: Source, name: str) -> Options:
    """Build the objects that a network source refers to: certificates, passwords, cookies."""
    if source.type != "network":
        return
    if source.tls:
        yield obj(
            {
                "qom-type": "tls-creds-x509",
                "id": f"obj{name}_tls0",
                "dir": context.inputs.default_tls_dir,
                "endpoint": "client",
                "verify-peer": True,
            }
        )
    auth = source.auth
    if auth is not None and auth.secret is not None:
        secret = auth.secret
        value = find_secret(context, secret.type or "", uuid=secret.uuid, usage=secret.usage)
        if source.protocol == "rbd":
            value = ceph_key(value)
        yield secret_object(context, f"{name}-auth-secret0", value)
    if source.cookies:
        text = "; ".join(f"{cookie.name}={cookie.value}" for cookie in source.cookies)
        yield secret_object(context, f"{name}-httpcookie-secret0", text.encode())
