"""Modules named `inside/inside_*.py` as pytest sees them outside: one machine a module.

Owns: turning a module's test functions into test items, and their results into outcomes.
May touch: the machine. The module itself is read here, and run inside alone.

A module may say what it needs, in literals: `SHAPE = {"disks": 2}` (`rig.machine.Shape`) and
`PACKAGES = {"/usr/sbin/lvm": "lvm2"}`, a file of each Debian package that must be installed.
"""

from __future__ import annotations

import ast
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from tests.integration.rig.kernel import RigError
from tests.integration.rig.machine import Machine, Shape, missing_packages
from tests.integration.rig.results import Result, of_test, read_results
from tests.integration.rig.scripts import HOST
from tests.paths import PROJECT

INSIDE: Final = "VIRTVISOR_RIG"
RUN_S: Final = 600.0
ALWAYS: Final = {
    "/usr/bin/qemu-system-x86_64": "qemu-system-x86",
    "/lib/systemd/systemd-udevd": "udev",
    "/bin/busybox": "busybox-static",
}


class InsideFile(pytest.File):
    """A module whose tests run in a machine of its own."""

    _results: list[Result] | None = None
    _refusal: str = ""

    def collect(self) -> Iterator[InsideTest]:
        """Every test function."""
        for node in self.tree().body:
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                yield InsideTest.from_parent(self, name=node.name, line=node.lineno)

    def tree(self) -> ast.Module:
        """The module, parsed and not run."""
        return ast.parse(self.path.read_text(encoding="utf-8"))

    def constant(self, name: str) -> dict[str, Any]:
        """A literal that the module assigns."""
        for node in self.tree().body:
            if isinstance(node, ast.Assign) and any(
                isinstance(target, ast.Name) and target.id == name for target in node.targets
            ):
                found = ast.literal_eval(node.value)
                assert isinstance(found, dict), f"{name} is a dictionary"
                return found
        return {}

    def results(self) -> list[Result]:
        """How the module's tests went inside; they run when this is first asked.

        Raises:
            RigError: they could not be run.
        """
        if self._refusal:
            raise RigError(self._refusal)
        if self._results is None:
            try:
                self._results = self._run()
            except RigError as error:
                self._refusal = f"(as for the module's first test) {error}"
                raise
        return self._results

    def _run(self) -> list[Result]:
        missing = missing_packages(ALWAYS | self.constant("PACKAGES"))
        if missing:
            raise RigError(f"the rig needs: apt-get install {' '.join(missing)}")
        with Machine(Shape(**self.constant("SHAPE"))) as machine:
            _, printed = machine.run(self._script(), RUN_S)
            file = machine.shared / "results.xml"
            if not file.exists():
                kept = machine.keep_console()
                raise RigError(f"pytest gave no results inside\n{printed}\nconsole: {kept}")
            found = read_results(file)
            if any(result.outcome == "failed" for result in found):
                kept = machine.keep_console()
                found = [
                    Result(one.name, one.outcome, f"{one.text}\nconsole: {kept}") for one in found
                ]
            return found

    def _script(self) -> str:
        words = [
            sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider",
            "-o", "python_files=inside_*.py", "--basetemp=/tmp/tests",
            f"--junitxml={HOST}/results.xml", str(self.path),
        ]  # fmt: skip
        return (
            f"cd {shlex.quote(str(PROJECT))}\n"
            f"export {INSIDE}=inside PYTHONDONTWRITEBYTECODE=1 VIRTVISOR_PATIENCE=10\n"
            f"exec {shlex.join(words)}\n"
        )


class InsideTest(pytest.Item):
    """One test function; with parameters it is all of them."""

    def __init__(self, *, line: int, **words: Any) -> None:
        super().__init__(**words)
        self._line = line

    def runtest(self) -> None:
        """Take what happened inside for what happens here."""
        assert isinstance(self.parent, InsideFile), "files make these"
        found = of_test(self.parent.results(), self.name)
        if not found:
            raise RigError(f"{self.name} did not run inside")
        failed = [one for one in found if one.outcome == "failed"]
        if failed:
            raise FailedInside("\n\n".join(f"{one.name}\n{one.text}" for one in failed))
        if all(one.outcome == "skipped" for one in found):
            pytest.skip(found[0].text)

    def repr_failure(
        self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None
    ) -> str | Any:
        """The inner test's own words."""
        if isinstance(excinfo.value, (FailedInside, RigError)):
            return str(excinfo.value)
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Path, int, str]:
        """Where the test is."""
        return self.path, self._line - 1, f"inside: {self.name}"


class FailedInside(Exception):
    """A test failed in the machine."""
