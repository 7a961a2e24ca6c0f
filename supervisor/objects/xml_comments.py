"""What may stand in the comment above a definition on disk, for parsers and hurried eyes. Pure."""

from __future__ import annotations

import re
from typing import Final

_TWO: Final = re.compile("-(?=-)")  # a hyphen before another one: the two would end the comment


def escape_comment(name: str) -> str:
    """A name as it can stand in a comment of XML."""
    return _TWO.sub("- ", name.replace("<", "").replace(">", ""))
