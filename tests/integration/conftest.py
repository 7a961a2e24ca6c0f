"""Collects the modules whose tests run inside the rig; inside, they are ordinary modules."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "clients")]

from rig.collecting import INSIDE, InsideFile


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    """Take `inside/inside_*.py`."""
    if os.environ.get(INSIDE) or not file_path.match("inside/inside_*.py"):
        return None
    return InsideFile.from_parent(parent, path=file_path)
