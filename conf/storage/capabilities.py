"""<storagepoolCapabilities>: which types of pools this daemon has, and their formats.

Owns: the XML; the caller passes what is supported. Pure.
Source: libvirt 9.0 formatstoragecaps.
"""

from __future__ import annotations

from collections.abc import Container

from conf.storage.formats import TRAITS, Formats, PoolType


def format_capabilities(supported: Container[PoolType]) -> str:
    """Format the XML.

    Args:
        supported: the types whose backend works here.
    """
    lines = ["<storagepoolCapabilities>"]
    for kind in PoolType:
        lines.append(f"  <pool type='{kind}' supported='{'yes' if kind in supported else 'no'}'>")
        traits = TRAITS[kind]
        lines += _options("poolOptions", "sourceFormatType", traits.formats)
        lines += _options("volOptions", "targetFormatType", traits.volume_formats)
        lines.append("  </pool>")
    lines.append("</storagepoolCapabilities>")
    return "\n".join(lines) + "\n"


def _options(element: str, enum: str, formats: Formats | None) -> list[str]:
    if formats is None:
        return []
    return [
        f"    <{element}>",
        f"      <defaultFormat type='{formats.default}'/>",
        f"      <enum name='{enum}'>",
        *(f"        <value>{name}</value>" for name in formats.names),
        "      </enum>",
        f"    </{element}>",
    ]
