"""Secrets that storage names: <auth> of servers, <encryption> of volumes.

Owns: the models, and what in them is refused. The secrets themselves are hostd's.
Source: libvirt 9.0 formatstorage and formatstorageencryption.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from conf.errors import ConfError
from conf.mapper import attribute, child, children, element
from conf.types.integer import unsigned
from conf.types.uuid import is_uuid, parse_uuid

AUTH_TYPES: Final = ("chap", "ceph")
ENCRYPTION_FORMATS: Final = ("default", "qcow", "luks", "luks2")


@element("secret")
@dataclass(slots=True, kw_only=True)
class SecretReference:
    """<secret>: which of the host's secrets is meant, by UUID or by what it is used for."""

    type: str | None = attribute("@type")
    usage: str | None = attribute("@usage")
    uuid: str | None = attribute("@uuid")

    def after_read(self) -> None:
        """Refuse what names no secret, or two."""
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
class PoolAuth:
    """<auth>: who the host is to a storage server."""

    type: str | None = attribute("@type")
    username: str | None = attribute("@username")
    secret: SecretReference | None = child("secret", SecretReference)

    def after_read(self) -> None:
        """Refuse what is incomplete."""
        if not self.username:
            raise ConfError("xml", "missing username for auth", "source/auth")
        if self.type is not None and self.type not in AUTH_TYPES:
            detail = f"unknown auth type '{self.type}'; there are {', '.join(AUTH_TYPES)}"
            raise ConfError("config_unsupported", detail, "source/auth/@type")
        if self.type is None:
            raise ConfError("config_unsupported", "storage pool missing auth type", "source/auth")
        if self.secret is None:
            raise ConfError("xml", "Missing <secret> element in auth", "source/auth")


@element("secret")
@dataclass(slots=True, kw_only=True)
class VolumeSecret(SecretReference):
    """<secret> of an encrypted volume: its passphrase."""

    def after_read(self) -> None:
        """Refuse other kinds."""
        if self.type is None:
            raise ConfError("xml", "unknown volume encryption secret type", "encryption/secret")
        if self.type != "passphrase":
            detail = f"unknown volume encryption secret type {self.type}; there is passphrase"
            raise ConfError("config_unsupported", detail, "encryption/secret/@type")
        SecretReference.after_read(self)


@element("cipher")
@dataclass(slots=True, kw_only=True)
class Cipher:
    """<cipher>: how a LUKS volume is encrypted."""

    name: str | None = attribute("@name")
    size: int = attribute("@size", read=unsigned, default=0, required=True)  # of the key, in bits
    mode: str | None = attribute("@mode")
    hash: str | None = attribute("@hash")

    def after_read(self) -> None:
        """Refuse one without a name."""
        if not self.name:
            raise ConfError("xml", "cipher info missing 'name' attribute", "encryption/cipher")


@element("ivgen")
@dataclass(slots=True, kw_only=True)
class IvGen:
    """<ivgen>: how each sector's initialization vector is made."""

    name: str | None = attribute("@name")
    hash: str | None = attribute("@hash")

    def after_read(self) -> None:
        """Refuse one without a name."""
        if not self.name:
            raise ConfError("xml", "missing ivgen info name string", "encryption/ivgen")


@element("encryption")
@dataclass(slots=True, kw_only=True)
class VolumeEncryption:
    """<encryption> of a volume."""

    format: str | None = attribute("@format")
    engine: str | None = attribute("@engine")
    secrets: list[VolumeSecret] = children("secret", VolumeSecret)
    cipher: Cipher | None = child("cipher", Cipher)
    ivgen: IvGen | None = child("ivgen", IvGen)

    def after_read(self) -> None:
        """Refuse unknown formats."""
        if self.format is None:
            raise ConfError("xml", "unknown volume encryption format", "encryption")
        if self.format not in ENCRYPTION_FORMATS:
            detail = f"unknown volume encryption format type {self.format}"
            raise ConfError("config_unsupported", detail, "encryption/@format")
        if self.engine not in (None, "qemu", "librbd"):
            detail = f"unknown volume encryption engine {self.engine}; there are qemu, librbd"
            raise ConfError("config_unsupported", detail, "encryption/@engine")
