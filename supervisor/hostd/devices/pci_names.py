"""Names of PCI vendors and products, from the list that pciutils installs.

Owns: the look-up. May touch: that file, to read.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Final

LISTS: Final = (Path("/usr/share/misc/pci.ids"), Path("/usr/share/hwdata/pci.ids"))


@cache
def pci_names(vendor: int, product: int, lists: tuple[Path, ...] = LISTS) -> tuple[str, str]:
    """Return a vendor's and its product's name, "" for each that no list has.

    The list is read for each new pair: a host has few, and the file a megabyte.
    """
    found = ("", "")
    for path in lists:
        try:
            with path.open(encoding="utf-8", errors="replace") as lines:
                return _look_up(lines, f"{vendor:04x}  ", f"\t{product:04x}  ")
        except OSError:
            continue
    return found


def _look_up(lines: Iterable[str], vendor: str, product: str) -> tuple[str, str]:
    """Go through the list: the lines of a vendor's products begin with a tab and follow its own."""
    name = ""
    for line in lines:
        if line.startswith(vendor):
            name = line[len(vendor) :].strip()
        elif name and line.startswith(product):
            return name, line[len(product) :].strip()
        elif name and line[:1] not in ("\t", "#", "\n"):
            break
    return name, ""
