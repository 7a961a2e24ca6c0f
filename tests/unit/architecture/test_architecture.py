"""The construction of the code: packages import one way, plain names, a header each."""

from __future__ import annotations

import ast
from collections import defaultdict
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
#: A folder of supervisor/ that is a process, or the code of one.
SERVICES: Final = (
    *("root", "authd", "rpcd", "domd", "hostd", "netd", "stord", "logd", "workers", "ctl"),
)
#: A folder of supervisor/ that services are built from; it knows none of them.
LIBRARIES: Final = ("access", "runtime", "dispatch", "objects", "drivers", "messages", "images")
#: What may start with each driver's worker: these two never know each other.
WORKER_DRIVERS: Final = ("qemu", "lxc")
#: Parts of a module's name that say nothing, or that only this project would understand.
BANNED: Final = frozenset(
    (
        *("util", "utils", "helper", "helpers", "misc", "common", "stuff"),
        *("word", "words", "card", "cards", "figures", "notes", "belongings", "manner", "gate"),
        *("voice", "orders", "lending", "talking", "carrying", "keeping", "finishing", "natives"),
        *("remembered", "telling", "told", "stale"),
    )
)
#: First words of docstrings that describe a result instead of the function's effect.
NO_VERBS: Final = frozenset(
    (
        *("A", "An", "All", "Every", "How", "One", "Some", "That", "The", "These", "This"),
        *("What", "When", "Where", "Whether", "Which", "Who"),
    )
)
#: A model in conf/ and the value of the wire protocol may share libvirt's name for the thing.
MOST_CLASSES_OF_A_NAME: Final = 2


def modules() -> dict[str, Path]:
    """Map the name of every module of ours to its file."""
    paths = {}
    for package in PACKAGES:
        for path in sorted((PROJECT / package).rglob("*.py")):
            parts = path.relative_to(PROJECT).with_suffix("").parts
            paths[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return paths


def imports(path: Path) -> Iterator[str]:
    """List every absolute import of a file, those in functions and `if TYPE_CHECKING` included."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import; name the module in full"
            assert node.module is not None
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def imported_modules(name: str, path: Path, known: dict[str, Path]) -> set[str]:
    """List the modules of ours that a module imports."""
    return {target for target in imports(path) if target in known and target != name}


def room(name: str) -> str:
    """Name the folder of supervisor/ that a module is in, or nothing."""
    parts = name.split(".")
    return parts[1] if parts[0] == "supervisor" and len(parts) > 1 else ""


def test_packages_import_only_along_the_arrows() -> None:
    for name, path in modules().items():
        package = name.split(".")[0]
        for target in imports(path):
            top = target.split(".")[0]
            if top in PACKAGES or top == "tests":
                assert top in MAY_IMPORT[package], f"{name} imports {target}"


def test_every_folder_of_supervisor_is_a_service_or_a_library() -> None:
    rooms = {room(name) for name in modules()} - {""}
    assert rooms == {*SERVICES, *LIBRARIES}


def test_services_never_import_each_other_and_libraries_no_service() -> None:
    known = modules()
    for name, path in known.items():
        for target in imported_modules(name, path, known):
            if room(target) in SERVICES:
                assert room(target) == room(name), f"{name} imports {target}"


@pytest.mark.parametrize("driver", WORKER_DRIVERS)
def test_workers_of_one_driver_never_import_those_of_another(driver: str) -> None:
    others = tuple(f"supervisor.workers.{other}." for other in WORKER_DRIVERS if other != driver)
    for name, path in modules().items():
        if name.startswith(f"supervisor.workers.{driver}."):
            assert not [target for target in imports(path) if f"{target}.".startswith(others)], name


def test_no_code_compares_the_name_of_a_driver() -> None:
    """What depends on the driver is in its row of `supervisor/drivers`."""
    for name, path in modules().items():
        if name.startswith("supervisor."):
            for node in ast.walk(ast.parse(path.read_text())):
                if isinstance(node, ast.Compare):
                    for side in (node.left, *node.comparators):
                        is_name = isinstance(side, ast.Constant) and side.value == "lxc"
                        assert not is_name, f"{path}:{node.lineno} compares a driver's name"


def test_no_module_is_in_an_import_ring() -> None:
    known = modules()
    graph = {
        # A module may import its own package's __init__ and the reverse: that is not a ring.
        name: {t for t in imported_modules(name, path, known) if not name.startswith(t + ".")}
        for name, path in known.items()
    }
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as ring:
        pytest.fail(f"import ring: {' -> '.join(ring.args[1])}")


def test_no_module_has_a_name_that_only_this_project_understands() -> None:
    for name in modules():
        parts = {part for component in name.split(".") for part in component.split("_")}
        assert not parts & BANNED, f"{name}: use libvirt's, QEMU's or the kernel's term"


def test_no_class_name_stands_for_many_things() -> None:
    places: defaultdict[str, list[str]] = defaultdict(list)
    for name, path in modules().items():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ClassDef):
                places[node.name].append(name)
    many = {name: at for name, at in places.items() if len(at) > MOST_CLASSES_OF_A_NAME}
    assert not many, "one name for several things: say which thing each is"


def test_every_module_says_what_it_is() -> None:
    for name, path in modules().items():
        assert ast.get_docstring(ast.parse(path.read_text())), f"{name} has no header"


def test_no_docstring_of_an_init_says_nothing() -> None:
    for name, path in modules().items():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef) and node.name == "__init__":
                text = ast.get_docstring(node)
                assert text is None or "\n" in text or len(text) > 30, f"{name}:{node.lineno}"


def test_docstrings_of_functions_begin_with_a_verb() -> None:
    for name, path in modules().items():
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                decorators = [ast.unparse(decorator) for decorator in node.decorator_list]
                text = ast.get_docstring(node) or ""
                if text and not any("property" in decorator for decorator in decorators):
                    assert text.split()[0] not in NO_VERBS, f"{name}:{node.lineno}: {text}"
