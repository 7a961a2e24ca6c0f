"""<secret>: what a secret is for, and who may see it.

Owns: the model; reading with what is refused; writing. May not touch: values, files.
Source: libvirt 9.0 formatsecret; the refusals are those measured on it.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from conf.errors import ConfError
from conf.mapper import Mode, attribute, child, element, parse, text, write
from conf.types.uuid import uuid_reader


class UsageType(StrEnum):
    """What a secret is for, in the order of virSecretUsageType."""

    NONE = "none"
    VOLUME = "volume"
    CEPH = "ceph"
    ISCSI = "iscsi"
    TLS = "tls"
    VTPM = "vtpm"

    @property
    def number(self) -> int:
        """Its virSecretUsageType."""
        return list(UsageType).index(self)


def _usage_type(value: str) -> UsageType:
    if value not in UsageType.__members__.values():
        detail = f"unknown secret usage type {value}; there are {', '.join(UsageType)}"
        raise ConfError("config_unsupported", detail, "secret/usage/@type")
    return UsageType(value)


def _switch(name: str) -> Callable[[str], bool]:
    def read(value: str) -> bool:
        if value not in ("yes", "no"):
            detail = f"invalid value of '{name}': '{value}'; write yes or no"
            raise ConfError("xml", detail, f"secret/@{name}")
        return value == "yes"

    return read


#: How libvirt's messages write these types.
_TITLES: Final = {
    UsageType.CEPH: "Ceph",
    UsageType.ISCSI: "iSCSI",
    UsageType.TLS: "TLS",
    UsageType.VTPM: "vTPM",
}


@element("usage")
@dataclass(slots=True, kw_only=True)
class Usage:
    """<usage>: the object that the secret opens; which element names it depends on the type."""

    type: UsageType | None = attribute("@type", read=_usage_type, empty_is_absent=True)
    volume: str | None = text("volume", omit="")
    name: str | None = text("name", omit="")
    target: str | None = text("target", omit="")

    def after_read(self) -> None:
        """Refuse a usage that names nothing, and keep only the name that counts."""
        if self.type is None:
            raise ConfError("xml", "unknown secret usage type", "secret/usage")
        volume, name, target = self.volume, self.name, self.target
        self.volume = volume if self.type is UsageType.VOLUME else None
        self.target = target if self.type is UsageType.ISCSI else None
        named = self.type not in (UsageType.NONE, UsageType.VOLUME, UsageType.ISCSI)
        self.name = name if named else None
        if self.type is not UsageType.NONE and not self.object:
            wanted = {UsageType.VOLUME: "volume path", UsageType.ISCSI: "target"}
            what = wanted.get(self.type, "name")
            detail = f"{_TITLES.get(self.type, self.type)} usage specified, but {what} is missing"
            raise ConfError("internal", detail, "secret/usage")

    @property
    def object(self) -> str:
        """The name of what the secret opens."""
        return self.volume or self.name or self.target or ""


@element("secret")
@dataclass(slots=True, kw_only=True)
class Secret:
    """<secret>."""

    ephemeral: bool = attribute(
        "@ephemeral", read=_switch("ephemeral"), default=False, empty_is_absent=True
    )
    private: bool = attribute(
        "@private", read=_switch("private"), default=False, empty_is_absent=True
    )
    uuid: str = text(
        "uuid", read=uuid_reader("internal", "secret/uuid"), default="", omit=""
    )  # never empty once read
    description: str | None = text("description", omit="")
    usage: Usage | None = child("usage", Usage, merge=True)

    @property
    def usage_type(self) -> UsageType:
        """What it is for."""
        return self.usage.type or UsageType.NONE if self.usage else UsageType.NONE

    @property
    def usage_id(self) -> str:
        """The name of what it opens; "" for nothing in particular."""
        return self.usage.object if self.usage else ""


def parse_secret(xml: bytes | str, *, make_uuid: Callable[[], str] | None = None) -> Secret:
    """Parse a secret's XML; without a UUID, one is generated.

    Args:
        xml: the <secret>.
        make_uuid: generates it; at random by default.

    Raises:
        ConfError: it is none; the kind is libvirt's code.
    """
    secret = parse(Secret, xml)
    if not secret.uuid:
        secret.uuid = make_uuid() if make_uuid else str(uuid.uuid4())
    if secret.usage is not None and secret.usage.type is UsageType.NONE:
        secret.usage = None
    return secret


def format_secret(secret: Secret) -> str:
    """Format <secret>."""
    return write(secret, Mode())
