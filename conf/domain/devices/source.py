"""<source> of disks and firmware: a file, a device, a folder, or something on the network.

Source: libvirt 9.0 formatdomain, "Hard drives, floppy disks, CDROMs".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from conf.domain.devices.address import PciAddress
from conf.errors import ConfError
from conf.mapper import Mode, Refusal, When, attribute, child, children, element, text
from conf.types.bool import is_yes, yes_no
from conf.types.enum import one_of
from conf.types.integer import c_unsigned, uint, unsigned
from conf.types.repeats import first_repeated
from conf.types.uuid import is_uuid, parse_uuid

PORT_MAX: Final = 65535
#: Characters that a cookie's name and value cannot have (RFC 6265).
NO_COOKIE_NAME: Final = frozenset(map(chr, (*range(1, 33), 127))) | frozenset('"(),/:;<=>?@[\\]{}')
NO_COOKIE_VALUE: Final = frozenset(map(chr, (*range(1, 33), 127))) | frozenset('",;\\')
POLICIES = one_of("mandatory", "requisite", "optional")


@element("secret")
@dataclass(slots=True, kw_only=True)
class SecretReference:
    """<secret>: which of the host's secrets is meant."""

    type: str | None = attribute("@type", empty_is_absent=True)
    usage: str | None = attribute("@usage")
    uuid: str | None = attribute("@uuid")

    def after_read(self) -> None:
        """Refuse two names of one secret, and none; give its UUID the usual form.

        Source: libvirt 9.0 virSecretLookupParseSecret.

        Raises:
            ConfError: "xml".
        """
        if self.uuid is None and self.usage is None:
            raise ConfError("xml", "missing secret uuid or usage attribute", "secret")
        if self.uuid is not None and self.usage is not None:
            raise ConfError("xml", "either secret uuid or usage expected", "secret")
        if self.uuid is not None and not is_uuid(self.uuid):
            raise ConfError("xml", f"invalid secret uuid '{self.uuid}'", "secret/@uuid")
        if self.uuid is not None:
            self.uuid = parse_uuid(self.uuid)


@element("auth")
@dataclass(slots=True, kw_only=True)
class Auth:
    """<auth>: who asks a storage server."""

    username: str | None = attribute("@username")
    secret: SecretReference | None = child("secret", SecretReference)


@element("encryption")
@dataclass(slots=True, kw_only=True)
class Encryption:
    """<encryption>."""

    format: str = attribute(
        "@format",
        read=one_of(
            "default", "qcow", "luks", "luks2", unknown="unknown volume encryption format type {}"
        ),
        default="default",
        required=Refusal("xml", "unknown volume encryption format"),
        empty_is_absent=True,
    )
    engine: str | None = attribute("@engine", read=one_of("qemu", "librbd"))
    secrets: list[SecretReference] = children("secret", SecretReference)


@element("host")
@dataclass(slots=True, kw_only=True)
class SourceHost:
    """<host>: a server."""

    transport: str | None = attribute(
        "@transport",
        read=one_of("tcp", "rdma", "unix", unknown="unknown protocol transport type '{}'"),
    )
    socket: str | None = attribute("@socket")
    name: str | None = attribute("@name")
    port: str | None = attribute("@port")

    def after_read(self) -> None:
        """Check what the transport has.

        Source: libvirt 9.0 virDomainStorageNetworkParseHost.

        Raises:
            ConfError: "xml".
        """
        path = "source/host"
        if self.transport == "unix" and self.socket is None:
            raise ConfError("xml", "missing socket for unix transport", path)
        if self.transport != "unix" and self.socket is not None:
            detail = f"transport '{self.transport or '(null)'}' does not support socket attribute"
            raise ConfError("xml", detail, path)
        if self.transport == "unix":
            self.name = self.port = None
        elif self.name is None:
            raise ConfError("xml", "missing name for host", path)
        self.port = _port(self.port)


def _port(text: str | None) -> str | None:
    """Read the number of a port; 0 is none.

    Raises:
        ConfError: "invalid_arg".
    """
    if text is None:
        return None
    path = "source/host/@port"
    try:
        port = c_unsigned(text)
    except ValueError:
        raise ConfError("invalid_arg", f"failed to parse port number '{text}'", path) from None
    if port > PORT_MAX:
        raise ConfError("invalid_arg", f"port '{text}' out of range", path)
    return str(port) if port else None


@element("cookie")
@dataclass(slots=True, kw_only=True)
class Cookie:
    """<cookie>: sent to a web server."""

    name: str = attribute("@name", default="")
    value: str = text(".", default="")


def _check_cookies(cookies: Sequence[Cookie]) -> None:
    """Refuse cookies that no header can have.

    Source: libvirt 9.0 virStorageSourceNetCookiesValidate.

    Raises:
        ConfError: "xml".
    """
    path = "source/cookies/cookie"
    for cookie in cookies:
        if not cookie.name:
            raise ConfError("xml", "missing cookie name", path)
        if not cookie.value:
            raise ConfError("xml", f"missing value for cookie '{cookie.name}'", path)
        if set(cookie.name) & NO_COOKIE_NAME:
            detail = f"cookie name '{cookie.name}' contains invalid characters"
            raise ConfError("xml", detail, path)
        quoted = cookie.value.startswith('"')
        inner = cookie.value[1:-1] if quoted else cookie.value
        if (quoted and not cookie.value.endswith('"')) or set(inner) & NO_COOKIE_VALUE:
            detail = f"value of cookie '{cookie.name}' contains invalid characters"
            raise ConfError("xml", detail, path)
    twice = first_repeated([cookie.name for cookie in cookies])
    if twice is not None:
        raise ConfError("xml", f"duplicate cookie '{twice}'", path)


@element("reconnect", omit_empty=True)
@dataclass(slots=True, kw_only=True)
class Reconnect:
    """<reconnect>: whether a lost connection is made again, and after how many seconds."""

    enabled: bool | None = attribute("@enabled", read=yes_no)
    timeout: int | None = attribute(
        "@timeout", read=uint, required=True, when=When("enabled", ("yes",))
    )

    def after_read(self) -> None:
        """Drop the delay of a connection that is not made again."""
        if not self.enabled:
            self.timeout = None


@element("reservations")
@dataclass(slots=True, kw_only=True)
class Reservations:
    """<reservations>: SCSI persistent reservations."""

    enabled: bool | None = attribute("@enabled", read=yes_no)
    managed: bool | None = attribute("@managed", read=yes_no, required=True)
    source_type: str | None = attribute("source/@type", empty_is_absent=True, first=True)
    path: str | None = attribute("source/@path", empty_is_absent=True, first=True)
    source_mode: str | None = attribute("source/@mode", empty_is_absent=True, first=True)

    def after_read(self) -> None:
        """Check the socket of a helper that is not ours.

        Source: libvirt 9.0 virStoragePRDefParseXML.

        Raises:
            ConfError: "xml".
        """
        if self.managed:
            self.source_type = self.path = self.source_mode = None
            return
        detail = ""
        for value, name in (
            (self.source_type, "connection type"),
            (self.path, "path"),
            (self.source_mode, "connection mode"),
        ):
            if value is None:
                raise ConfError("xml", f"missing {name} for <reservations/>", "reservations/source")
        if self.source_type != "unix":
            detail = f"unsupported connection type for <reservations/>: {self.source_type}"
        elif self.source_mode != "client":
            detail = f"unsupported connection mode for <reservations/>: {self.source_mode}"
        if detail:
            raise ConfError("xml", detail, "reservations/source")


@element("slice")
@dataclass(slots=True, kw_only=True)
class Slice:
    """<slice>: a part of a file."""

    type: str = attribute("@type", default="storage")
    offset: int = attribute("@offset", read=unsigned, default=0)
    size: int = attribute("@size", read=unsigned, default=0)


@element("seclabel")
@dataclass(slots=True, kw_only=True)
class SourceLabel:
    """<seclabel> of one source."""

    model: str | None = attribute("@model")
    labelskip: bool | None = attribute("@labelskip", read=is_yes, omit=False, only="live")
    relabel: bool | None = attribute("@relabel", read=yes_no)
    label: str | None = text("label")

    def after_read(self) -> None:
        """Refuse a label that is not to be given; say that files are relabelled.

        Raises:
            ConfError: "xml".
        """
        if self.label and self.relabel is False:
            model = self.model or "(null)"
            detail = f"Cannot specify a label if relabelling is turned off. model={model}"
            raise ConfError("xml", detail, "source/seclabel")
        if self.relabel is None and not self.labelskip:
            self.relabel = True

    def before_write(self, mode: Mode) -> SourceLabel | None:
        """Leave out of a definition a label that says nothing: its labelskip= is live only."""
        says_nothing = not mode.live and self.label is None and self.relabel is not False
        return None if says_nothing else self


#: The attributes and children of a <source> that its type decides on.
OF_TYPE: Final = {
    "file": ("file", "fdgroup"),
    "block": ("dev",),
    "dir": ("dir",),
    "network": (
        "protocol", "name", "query", "tls", "tls_hostname", "hosts", "snapshot", "config_file",
        "initiator", "ssl_verify", "cookies", "readahead", "timeout", "reconnect",
        "identity_user", "identity_group",
    ),
    "volume": ("pool", "volume", "mode"),
    "nvme": ("source_type", "managed", "namespace", "pci_address"),
    "vdpa": ("dev",),
    "vhostuser": ("source_type", "path", "mode", "reconnect"),
}  # fmt: skip
PROTOCOLS: Final = (
    "none", "nbd", "rbd", "sheepdog", "gluster", "iscsi", "http", "https", "ftp", "ftps", "tftp",
    "ssh", "vxhs", "nfs",
)  # fmt: skip
#: Protocols whose names are of a pool or volume and an image.
POOLED: Final = ("rbd", "gluster")
TYPED: Final = sorted({name for names in OF_TYPE.values() for name in names})


def lenient_index(text: str) -> int | None:
    """Read an image's number, which a definition does not have: whatever it says is let through."""
    return int(text) if text.isascii() and text.isdigit() else None


@element("source")
@dataclass(slots=True, kw_only=True)
class Source:
    """<source>; which attributes count depends on the type beside it."""

    file: str | None = attribute("@file")
    dev: str | None = attribute("@dev")
    dir: str | None = attribute("@dir")
    protocol: str | None = attribute("@protocol")
    name: str | None = attribute("@name")
    query: str | None = attribute("@query")
    tls: bool | None = attribute("@tls", read=yes_no)
    tls_hostname: str | None = attribute("@tlsHostname")
    pool: str | None = attribute("@pool")
    volume: str | None = attribute("@volume")
    mode: str | None = attribute("@mode")
    source_type: str | None = attribute("@type")
    path: str | None = attribute("@path")
    managed: bool | None = attribute("@managed", read=yes_no)
    namespace: str | None = attribute("@namespace")
    fdgroup: str | None = attribute("@fdgroup")
    startup_policy: str | None = attribute("@startupPolicy", read=POLICIES)
    index: int | None = attribute("@index", read=lenient_index, only="live")
    pci_address: PciAddress | None = child("address", PciAddress)
    hosts: list[SourceHost] = children("host", SourceHost)
    snapshot: str | None = attribute("snapshot/@name")
    config_file: str | None = attribute("config/@file")
    reconnect: Reconnect | None = child("reconnect", Reconnect)
    auth: Auth | None = child("auth", Auth)
    labels: list[SourceLabel] = children("seclabel", SourceLabel)
    encryption: Encryption | None = child("encryption", Encryption)
    reservations: Reservations | None = child("reservations", Reservations)
    initiator: str | None = attribute("initiator/iqn/@name")
    slices: list[Slice] = children("slices/slice", Slice)
    ssl_verify: bool | None = attribute("ssl/@verify", read=yes_no)
    cookies: list[Cookie] = children(
        "cookies/cookie", Cookie, check=_check_cookies, only="secure", first=True
    )
    readahead: int | None = attribute(
        "readahead/@size", read=unsigned, omit=0, empty_is_absent=True
    )
    timeout: int | None = attribute("timeout/@seconds", read=unsigned, omit=0, empty_is_absent=True)
    identity_user: str | None = attribute("identity/@user")
    identity_group: str | None = attribute("identity/@group")
    #: What the element beside it says the source is: "file", "block", "network", …
    type: str = field(default="file", compare=False)
    #: The path of a pool's volume, once it has been found; `type` is "file" or "block" then.
    place: str = field(default="", compare=False)

    def keep_type(self, type_: str) -> None:
        """Set the type that is named beside the source; drop what only other types have.

        Source: libvirt 9.0 virDomainStorageSourceParse.

        Raises:
            ConfError: "xml": the type needs more.
        """
        if type_ == "network":
            self._check_network()
        if type_ == "nvme" and self.source_type is None:
            raise ConfError("xml", "missing 'type' attribute to disk source", "source/@type")
        if type_ == "volume" and (self.pool is None) != (self.volume is None):
            detail = "'pool' and 'volume' must be specified together for 'pool' type source"
            raise ConfError("xml", detail, "source")
        self.type = type_
        # Some say that nothing is there by an empty path.
        for name in ("file", "dev", "dir", "name"):
            if getattr(self, name) == "":
                setattr(self, name, None)
        kept = OF_TYPE.get(type_, ())
        for name in TYPED:
            if name not in kept:
                setattr(self, name, [] if name in ("hosts", "cookies") else None)

    def _check_network(self) -> None:
        path = "source/@name"
        if self.protocol is None:
            detail = "Missing required attribute 'protocol' in element 'source'"
            raise ConfError("xml", detail, "source/@protocol")
        if self.protocol not in PROTOCOLS:
            detail = (
                f"Invalid value for attribute 'protocol' in element 'source': '{self.protocol}'."
            )
            raise ConfError("xml", detail, "source/@protocol")
        if self.name is None and self.protocol != "nbd":
            raise ConfError("xml", "missing name for disk source", path)
        if self.protocol in POOLED and "/" not in (self.name or ""):
            detail = f"can't split path '{self.name}' into pool name and image name"
            raise ConfError("xml", detail, path)

    def before_write(self, mode: Mode) -> Source | None:
        """Leave out an element without an attribute or a child."""
        return None if self == Source() else self

    @property
    def pci(self) -> str | None:
        """The place of an NVMe disk on the host, as the kernel writes it."""
        at = self.pci_address
        return f"{at.domain:04x}:{at.bus:02x}:{at.slot:02x}.{at.function}" if at else None
