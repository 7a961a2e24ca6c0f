"""Fixtures and options of all tests.

`async def test_…` runs on an event loop of its own, for at most `COROUTINE_S`. With
`--strict-skips` a skipped test fails: where everything is installed, nothing may be left out, but
for tests marked `elsewhere`, of what no `./dev setup` installs.
"""

from __future__ import annotations

import asyncio
import inspect
import os
from collections.abc import Generator
from pathlib import Path
from typing import Any, Final

import hypothesis
import msgspec
import pytest

from conf.emulator import EmulatorFacts
from tests import qemu_binary

COROUTINE_S: Final = 60.0

# A deadline of an example, and how fast examples are made, measure how busy the machine is. CI
# runs the same examples each time, so that a submission is judged by its own change, and does not
# spend minutes on shrinking one that fails: a developer's machine finds the same one.
CI: Final = bool(os.environ.get("CI"))
hypothesis.settings.register_profile(
    "busy",
    deadline=None,
    derandomize=CI,
    phases=[hypothesis.Phase.explicit, hypothesis.Phase.generate] if CI else hypothesis.Phase,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("busy")


@pytest.fixture(scope="session")
def emulator_facts() -> EmulatorFacts:
    """Probe the machine's QEMU; skip where there is none."""
    if not Path(qemu_binary.BINARY).exists():
        pytest.skip(f"no {qemu_binary.BINARY}: apt-get install qemu-system-x86")
    return qemu_binary.facts()


@pytest.fixture(scope="session")
def kvm_facts(emulator_facts: EmulatorFacts) -> EmulatorFacts:
    """Return the same facts as of a host with KVM, whether this one has it or not."""
    return msgspec.structs.replace(emulator_facts, kvm=emulator_facts.kvm or emulator_facts.tcg)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add `--strict-skips`."""
    parser.addoption("--strict-skips", action="store_true", help="a skipped test fails")


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run a coroutine test to its end."""
    if not inspect.iscoroutinefunction(pyfuncitem.obj):
        return None
    names = inspect.signature(pyfuncitem.obj).parameters
    arguments = {name: pyfuncitem.funcargs[name] for name in names}
    asyncio.run(asyncio.wait_for(pyfuncitem.obj(**arguments), COROUTINE_S))
    return True


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, Any, Any]:
    """Turn a skip into a failure where that was asked for."""
    report = yield
    expected_failure = hasattr(report, "wasxfail")  # pytest reports it as skipped, too
    is_elsewhere = item.get_closest_marker("elsewhere") is not None
    if report.skipped and not (expected_failure or is_elsewhere) and _is_strict(item):
        reason = call.excinfo.value if call.excinfo else "no reason"
        report.outcome, report.longrepr = "failed", f"skipped: {reason}"
    return report


def _is_strict(item: pytest.Item) -> bool:
    return bool(item.config.getoption("--strict-skips"))
