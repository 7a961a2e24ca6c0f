"""Collects the modules whose tests run inside the rig; inside, they are ordinary modules."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent

from tests.integration.rig.collect import INSIDE, InsideFile


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    """Take `inside/inside_*.py`."""
    if not is_for_the_rig(file_path) or parent.session.isinitpath(file_path):
        return None  # a file that was named is made a module in any case: see below
    return InsideFile.from_parent(parent, path=file_path)


def pytest_pycollect_makemodule(
    module_path: Path, parent: pytest.Collector
) -> pytest.Collector | None:
    """Take it also when it was named; it must never run on the host."""
    if not is_for_the_rig(module_path):
        return None
    return InsideFile.from_parent(parent, path=module_path)


def is_for_the_rig(path: Path) -> bool:
    """Whether a file's tests run inside."""
    return not os.environ.get(INSIDE) and path.match("inside/inside_*.py")
