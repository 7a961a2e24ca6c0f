"""Typed parameters (virTypedParameter): built from Python values, read with libvirt's checks.

Owns: the type of each field, and the errors for parameters that clients sent.
May not touch: encoding (`rpc.codecs`), what a parameter means.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from typing import Final

from rpc.enums import TypedParameterType as ParamType
from rpc.errors import ErrorCode, VirError
from rpc.param_types import FIELDS
from rpc.values import TypedParam, TypedValue

__all__ = [
    "Boolean", "Double", "Int", "LLong", "ParamType", "String", "UInt", "ULLong", "declared",
    "param_type", "params", "read_params", "typed",
]  # fmt: skip

Value = int | float | str
MAX_FIELD: Final = 79  # bytes: VIR_TYPED_PARAM_FIELD_LENGTH is 80, with the closing NUL
_INDEX: Final = re.compile(r"(?<=\.)\d+(?=\.|$)")
_RANGES: Final = {
    ParamType.INT: (-(2**31), 2**31 - 1),
    ParamType.UINT: (0, 2**32 - 1),
    ParamType.LLONG: (-(2**63), 2**63 - 1),
    ParamType.ULLONG: (0, 2**64 - 1),
    ParamType.BOOLEAN: (0, 1),
}


def Int(value: int) -> TypedValue:
    """Make a VIR_TYPED_PARAM_INT: a signed integer of 32 bits."""
    return _value(ParamType.INT, value)


def UInt(value: int) -> TypedValue:
    """Make a VIR_TYPED_PARAM_UINT: an unsigned integer of 32 bits."""
    return _value(ParamType.UINT, value)


def LLong(value: int) -> TypedValue:
    """Make a VIR_TYPED_PARAM_LLONG: a signed integer of 64 bits."""
    return _value(ParamType.LLONG, value)


def ULLong(value: int) -> TypedValue:
    """Make a VIR_TYPED_PARAM_ULLONG: an unsigned integer of 64 bits."""
    return _value(ParamType.ULLONG, value)


def Double(value: float) -> TypedValue:
    """Make a VIR_TYPED_PARAM_DOUBLE."""
    return _value(ParamType.DOUBLE, value)


def Boolean(value: bool) -> TypedValue:  # noqa: FBT001
    """Make a VIR_TYPED_PARAM_BOOLEAN."""
    return _value(ParamType.BOOLEAN, value)


def String(value: str) -> TypedValue:
    """Make a VIR_TYPED_PARAM_STRING."""
    return _value(ParamType.STRING, value)


def params(values: Mapping[str, TypedValue]) -> list[TypedParam]:
    """Make a list of parameters: `params({"vcpu.current": UInt(2)})`.

    Raises:
        ValueError: a field's name is longer than `MAX_FIELD`.
    """
    for field in values:
        if len(field.encode()) > MAX_FIELD:
            raise ValueError(f"the field {field!r} is longer than {MAX_FIELD} bytes")
    return [TypedParam(field, value) for field, value in values.items()]


def typed(values: Mapping[str, Value | None]) -> list[TypedParam]:
    """Make a list of parameters with the types that libvirt gives their fields.

    Args:
        values: by field; one that is None is left out.

    Raises:
        KeyError: libvirt has no such field; use `params`.
        ValueError: the value does not fit the field's type.
    """
    return params(
        {
            field: _value(param_type(field), value)
            for field, value in values.items()
            if value is not None
        }
    )


def param_type(field: str) -> ParamType:
    """Return the type of a field; "block.0.path" has that of "block.N.path".

    Raises:
        KeyError: libvirt has no such field.
    """
    kind = FIELDS.get(field)
    return FIELDS[_INDEX.sub("N", field)] if kind is None else kind


def declared(*fields: str) -> dict[str, ParamType]:
    """Return the types of fields, for `read_params`.

    Raises:
        KeyError: libvirt has no such field.
    """
    return {field: param_type(field) for field in fields}


def read_params(
    received: Iterable[TypedParam],
    allowed: Mapping[str, ParamType],
    *,
    repeatable: Collection[str] = (),
) -> dict[str, list[Value]]:
    """Read a client's parameters: the values of each field in the order received.

    Args:
        received: the decoded parameters.
        allowed: the fields that the call takes, with their types.
        repeatable: those of them that may occur several times.

    Raises:
        VirError: ARGUMENT_UNSUPPORTED for a field that the call does not take; INVALID_ARG for a
            field of another type, or a repeated one.
    """
    values: dict[str, list[Value]] = {}
    for field, (kind, value) in received:
        expected = allowed.get(field)
        if expected is None:
            raise _unsupported(field, allowed)
        if kind != expected:
            raise _wrong_type(field, kind, expected)
        if field in values and field not in repeatable:
            raise VirError(
                ErrorCode.INVALID_ARG, f"parameter '{field}' occurs multiple times; give it once"
            )
        values.setdefault(field, []).append(value)
    return values


def _value(kind: ParamType, value: Value) -> TypedValue:
    """Check a value against its type."""
    if kind is ParamType.STRING:
        fits = isinstance(value, str)
    elif kind is ParamType.DOUBLE:
        fits = isinstance(value, int | float)
    else:
        low, high = _RANGES[kind]
        fits = isinstance(value, int) and low <= value <= high
    if not fits:
        raise ValueError(f"{value!r} is not a {kind.name}")
    return TypedValue(kind, value)


def _unsupported(field: str, allowed: Mapping[str, ParamType]) -> VirError:
    supported = ", ".join(sorted(allowed)) or "none"
    detail = f"parameter '{field}' not supported; this call takes: {supported}"
    return VirError(ErrorCode.ARGUMENT_UNSUPPORTED, detail)


def _wrong_type(field: str, kind: int, expected: ParamType) -> VirError:
    name = ParamType(kind).name.lower() if kind in ParamType._value2member_map_ else str(kind)
    detail = f"invalid type '{name}' for parameter '{field}', expected '{expected.name.lower()}'"
    return VirError(ErrorCode.INVALID_ARG, detail)
