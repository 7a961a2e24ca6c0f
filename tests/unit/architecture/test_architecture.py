"""The arrows between packages (DESIGN.md, "Where things are"): one way, and no ring."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Final

import pytest

from tests.paths import PROJECT

PACKAGES: Final = ("supervisor", "ipc", "rpc", "conf")
MAY_IMPORT: Final = {
    "ipc": {"ipc"},
    "rpc": {"rpc"},
    "conf": {"conf"},
    "supervisor": {"supervisor", "ipc", "rpc", "conf"},
}
SERVICES: Final = ("root", "rpcd", "domd", "hostd", "netd", "stord", "workers")
LIBRARIES: Final = ("dispatch", "drivers", "objects", "messages")


def modules() -> dict[str, Path]:
    """Name every module of ours and the file it is in."""
    found = {}
    for package in PACKAGES:
        for path in sorted((PROJECT / package).rglob("*.py")):
            parts = path.relative_to(PROJECT).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(path: Path) -> Iterator[str]:
    """Every absolute import in a file, the ones inside functions and `if TYPE_CHECKING` too."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import; name the module in full"
            assert node.module is not None
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def ours(name: str, path: Path, known: dict[str, Path]) -> set[str]:
    """The modules of ours that a module imports, itself and its own package apart."""
    return {target for target in imports(path) if target in known and target != name}


def test_packages_import_only_along_the_arrows() -> None:
    for name, path in modules().items():
        package = name.split(".")[0]
        for target in imports(path):
            top = target.split(".")[0]
            if top in PACKAGES or top == "tests":
                assert top in MAY_IMPORT[package], f"{name} imports {target}"


def test_services_never_import_each_other() -> None:
    known = modules()
    for name, path in known.items():
        parts = name.split(".")
        if len(parts) < 2 or parts[0] != "supervisor" or parts[1] not in SERVICES:
            continue
        for target in ours(name, path, known):
            other = target.split(".")
            if other[0] == "supervisor" and len(other) > 1 and other[1] in SERVICES:
                assert other[1] == parts[1], f"{name} imports {target}"


def test_libraries_import_no_service() -> None:
    known = modules()
    for name, path in known.items():
        parts = name.split(".")
        if len(parts) < 2 or parts[1] not in LIBRARIES:
            continue
        for target in ours(name, path, known):
            assert (target + ".").split(".")[1] not in SERVICES, f"{name} imports {target}"


def test_no_service_compares_the_name_of_a_driver() -> None:
    """What depends on the driver is in its row of the driver table."""
    for name, path in modules().items():
        if not name.startswith("supervisor."):
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Compare):
                for side in (node.left, *node.comparators):
                    named = isinstance(side, ast.Constant) and side.value == "lxc"
                    assert not named, f"{path}:{node.lineno} compares a driver's name"


def test_no_module_is_in_an_import_ring() -> None:
    known = modules()
    graph = {
        # A module may import its own package's __init__ and the reverse: that is not a ring.
        name: {t for t in ours(name, path, known) if not name.startswith(t + ".")}
        for name, path in known.items()
    }
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as ring:
        pytest.fail(f"import ring: {' -> '.join(ring.args[1])}")


@pytest.mark.parametrize("word", ["utils", "util", "helpers", "helper", "misc", "common", "stuff"])
def test_no_module_has_a_name_that_says_nothing(word: str) -> None:
    assert not [name for name in modules() if word in name.split(".")]


def test_every_module_says_what_it_owns() -> None:
    for name, path in modules().items():
        assert ast.get_docstring(ast.parse(path.read_text())), f"{name} has no header"
