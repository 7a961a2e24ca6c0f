"""Sparse streams between a service and rpcd: records of data and of holes in a socket.

Owns: their encoding: a byte for the type, eight for the length, then the data of a data record.
"""

from __future__ import annotations

import struct
from enum import IntEnum
from typing import Final

RECORD_HEADER: Final = struct.Struct(">BQ")


class RecordType(IntEnum):
    """The type of a record."""

    DATA = 0
    HOLE = 1
