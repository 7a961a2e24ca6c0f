"""The kinds of pools that this daemon has.

Owns: that table. A new kind is one line here.
"""

from __future__ import annotations

from typing import Final

from conf.storage import PoolType
from supervisor.stord.backends.base import Kind
from supervisor.stord.backends.folder import Folder

KINDS: Final[dict[PoolType, Kind]] = {
    PoolType.DIR: Kind(Folder, in_session=True),
}
