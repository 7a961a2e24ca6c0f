"""Booleans as libvirt's XML writes them: "yes"/"no" and "on"/"off".

libvirt: virTristateBool, virTristateSwitch.
Owns: their readers and the writer of "on"/"off"; the mapper itself writes "yes"/"no". Pure.
"""

from __future__ import annotations


def yes_no(text: str) -> bool:
    """Read "yes" or "no".

    Raises:
        KeyError: any other text; libvirt ignores neither case nor spaces.
    """
    return {"yes": True, "no": False}[text]


def is_yes(text: str) -> bool:
    """Read an attribute that libvirt only compares with "yes": any other text is no."""
    return text == "yes"


def yes_no_or_none(text: str) -> bool | None:
    """Read "yes" or "no"; libvirt ignores any other text here, as if it were absent."""
    return {"yes": True, "no": False}.get(text)


def on_off(text: str) -> bool:
    """Read "on" or "off".

    Raises:
        KeyError: any other text.
    """
    return {"on": True, "off": False}[text]


def write_on_off(value: object) -> str:
    """Write a boolean as "on" or "off"."""
    return "on" if value else "off"
