"""The elements of QEMU's own namespace in <domain>: arguments, device properties, capabilities.

Source: libvirt 9.0, "QEMU command-line passthrough", "Overriding properties of QEMU devices";
measured.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from conf.errors import ConfError
from conf.mapper import Refusal, attribute, children, element

#: The numbers that a property of a type may have.
NUMBERS: Final = {"signed": (-(1 << 63), (1 << 63) - 1), "unsigned": (0, (1 << 64) - 1)}
BOOLEANS: Final = ("true", "false")
PROPERTY_TYPES: Final = ("string", *NUMBERS, "bool", "remove")


def _property_type(text: str) -> str:
    """Read the type of a property.

    Raises:
        ConfError: "xml".
    """
    if text in PROPERTY_TYPES:
        return text
    detail = f"Invalid value for attribute 'type' in element 'property': '{text}'."
    raise ConfError("xml", detail, "qemu:override/qemu:device/qemu:property/@type")


@element("qemu:arg")
@dataclass(slots=True, kw_only=True)
class ExtraArgument:
    """<qemu:arg>: an argument passed to the emulator."""

    value: str = attribute(
        "@value",
        default="",
        required=Refusal("internal", "No qemu command-line argument specified"),
    )


@element("qemu:env")
@dataclass(slots=True, kw_only=True)
class ExtraVariable:
    """<qemu:env>: a variable in the emulator's environment."""

    name: str = attribute("@name", default="")
    value: str | None = attribute("@value")


@element("qemu:commandline", omit_empty=True)
@dataclass(slots=True, kw_only=True)
class QemuCommandline:
    """<qemu:commandline>."""

    arguments: list[ExtraArgument] = children("qemu:arg", ExtraArgument)
    variables: list[ExtraVariable] = children("qemu:env", ExtraVariable)


@element("qemu:property")
@dataclass(slots=True, kw_only=True)
class OverrideProperty:
    """<qemu:property>: one property of a device's front end."""

    name: str = attribute(
        "@name",
        default="",
        required=Refusal("xml", "missing 'name' attribute for qemu:property"),
    )
    type: str = attribute(
        "@type",
        read=_property_type,
        default="",
        required=Refusal("xml", "Missing required attribute 'type' in element 'property'"),
    )
    value: str | None = attribute("@value")

    def after_read(self) -> None:
        """Check the value.

        Raises:
            ConfError: "xml".
        """
        detail = ""
        if self.name == "id":
            detail = "property with name 'id' can't be overridden"
        elif self.type == "remove" and self.value is not None:
            detail = (
                "setting 'value' attribute of 'qemu:property' doesn't make sense with 'remove' type"
            )
        elif self.type != "remove" and self.value is None:
            detail = "missing 'value' attribute for 'qemu:property'"
        elif not self._fits():
            detail = f"invalid value '{self.value}' of 'value' attribute of 'qemu:property'"
        if detail:
            raise ConfError("xml", detail, "qemu:override/qemu:device/qemu:property")

    def _fits(self) -> bool:
        try:
            number = int(self.value or "") if self.type in NUMBERS else 0
        except ValueError:
            return False
        least, most = NUMBERS.get(self.type, (0, 0))
        return least <= number <= most and (self.type != "bool" or self.value in BOOLEANS)

    @property
    def json_value(self) -> str | int | bool | None:
        """The value as QEMU takes it in JSON; None: the property is removed."""
        if self.type == "remove":
            return None
        if self.type in NUMBERS:
            return int(self.value or "")
        return self.value == "true" if self.type == "bool" else self.value


@element("qemu:device")
@dataclass(slots=True, kw_only=True)
class OverrideDevice:
    """<qemu:device>: the device, by its alias."""

    alias: str = attribute(
        "@alias",
        default="",
        required=Refusal("xml", "missing 'alias' attribute for qemu:device"),
    )
    properties: list[OverrideProperty] = children("qemu:frontend/qemu:property", OverrideProperty)


@element("qemu:override")
@dataclass(slots=True, kw_only=True)
class QemuOverride:
    """<qemu:override>."""

    devices: list[OverrideDevice] = children("qemu:device", OverrideDevice)


@element("qemu:deprecation", omit_empty=True)
@dataclass(slots=True, kw_only=True)
class QemuDeprecation:
    """<qemu:deprecation>: what QEMU does with deprecated commands and properties."""

    behavior: str | None = attribute("@behavior", empty_is_absent=True)


@element("qemu:add")
@dataclass(slots=True, kw_only=True)
class Capability:
    """<qemu:add>, <qemu:del>: one of the emulator's capabilities."""

    capability: str = attribute(
        "@capability", default="", required=Refusal("internal", "missing capability name")
    )


@element("qemu:capabilities", omit_empty=True)
@dataclass(slots=True, kw_only=True)
class QemuCapabilities:
    """<qemu:capabilities>."""

    added: list[Capability] = children("qemu:add", Capability)
    removed: list[Capability] = children("qemu:del", Capability)
