"""Text of the comment above a definition on disk. Pure."""

from __future__ import annotations

import re
from typing import Final

_TWO: Final = re.compile("-(?=-)")  # a hyphen before another one: the two would end the comment


def escape_comment(name: str) -> str:
    """Escape a name for an XML comment, which must not contain "--"."""
    return _TWO.sub("- ", name.replace("<", "").replace(">", ""))
