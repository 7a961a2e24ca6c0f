"""The tree with real processes: forked, killed, restarted, ended."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import uvloop

from conf.settings import DaemonConfig, QemuConfig
from supervisor.root.handlers import TreeHandlers
from supervisor.root.privileges import Privileges
from supervisor.root.roles import Role
from supervisor.root.tree import Tree, TreeConfig
from supervisor.runtime.log import Collector, Output
from supervisor.runtime.restart_policy import Policy, RestartOn

HERE = "roles_under_test"
FOLDER = str(Path(__file__).resolve().parent)
DEADLINE_S = 15.0


def role(name: str, function: str = "wait", **policy: Any) -> Role:
    return Role(name, f"{HERE}:{function}", Policy(RestartOn.ALWAYS, **policy), Privileges.LAUNCH)


@asynccontextmanager
async def running(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *roles: Role, worker: Role | None = None
) -> AsyncIterator[Tree]:
    """A tree of these roles, on this test's loop; ended afterwards."""
    monkeypatch.syspath_prepend(FOLDER)
    collector = Collector(10)
    setting = TreeConfig(
        str(tmp_path), False, DaemonConfig(), QemuConfig(), {}, services=roles, preload=(HERE,)
    )
    setting.workers = {} if worker is None else {worker.name: worker}
    tree = Tree(setting, collector)
    collector.write_to([Output(0, "file", str(tmp_path / "log"))])
    collector.listen(asyncio.get_running_loop())
    tree.start(TreeHandlers)
    try:
        yield tree
    finally:
        await tree.stop()
        collector.close()


async def until(tree: Tree, condition: Callable[[], bool]) -> None:
    """Wait for the tree's changes until the condition holds."""
    changed = asyncio.Event()
    tree.on_change.append(changed.set)
    async with asyncio.timeout(DEADLINE_S):
        while not condition():
            changed.clear()
            await changed.wait()
    tree.on_change.remove(changed.set)


def alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and waits for its parent does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] != "Z"
    except FileNotFoundError:
        return False


def row(tree: Tree, name: str) -> tuple[int, str, int]:
    found = next(row for row in tree.status() if row.name == name)
    return found.pid, found.state, found.restarts


async def running_pid(tree: Tree, name: str) -> int:
    """Wait until a process runs; the zygote tells its pid, and that may come later."""
    await until(tree, lambda: is_running(tree, name) and row(tree, name)[0] != 0)
    return row(tree, name)[0]


def is_running(tree: Tree, name: str) -> bool:
    return row(tree, name)[1] == "running"


def is_restarted(tree: Tree, zygote: int) -> bool:
    return row(tree, "zygote")[0] not in (0, zygote)


def test_services_start_and_stop_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def story() -> list[int]:
        async with running(tmp_path, monkeypatch, role("one"), role("two")) as tree:
            assert await tree.wait_ready(DEADLINE_S)
            rows = tree.status()
            assert [r.name for r in rows] == ["root", "zygote", "one", "two"]
            assert {r.state for r in rows} == {"running"}
            return [r.pid for r in rows[1:]]

    for pid in asyncio.run(story()):
        assert not alive(pid)


def test_services_that_are_just_starting_stop_without_being_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story() -> None:
        roles = [role(f"service{number}") for number in range(6)]
        async with running(tmp_path, monkeypatch, *roles) as tree:
            await until(tree, lambda: row(tree, "service0")[0] > 0)  # forked, and no more

    asyncio.run(story())
    assert "is killed" not in (tmp_path / "log").read_text()


def test_a_killed_service_is_restarted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def story() -> None:
        async with running(tmp_path, monkeypatch, role("one")) as tree:
            assert await tree.wait_ready(DEADLINE_S)
            first = row(tree, "one")[0]
            os.kill(first, signal.SIGKILL)
            await until(tree, lambda: row(tree, "one")[1:] == ("running", 1))
            assert row(tree, "one")[0] != first

    asyncio.run(story())


@pytest.mark.parametrize("function", ["hang", "wait"])
def test_a_service_that_hangs_or_is_stopped_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, function: str
) -> None:
    async def story() -> None:
        # The next process hangs too; what counts is that there is one.
        watched = replace(role("one", function), silence_s=2.0)
        async with running(tmp_path, monkeypatch, watched) as tree:
            assert await tree.wait_ready(DEADLINE_S)
            first = row(tree, "one")[0]
            if function == "wait":
                os.kill(first, signal.SIGSTOP)
            await until(tree, lambda: row(tree, "one")[0] not in (0, first))
            assert not alive(first)

    asyncio.run(story())
    assert "one (pid " in (tmp_path / "log").read_text()
    assert "gives no sign of life for 2 s" in (tmp_path / "log").read_text()


def test_a_service_that_takes_too_much_memory_ends_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story() -> None:
        eating = replace(role("one", "eat"), memory=512 << 20)
        async with running(tmp_path, monkeypatch, eating, role("two")) as tree:
            await until(tree, lambda: row(tree, "one")[2] > 0)
            assert row(tree, "two")[2] == 0

    asyncio.run(story())
    assert "MemoryError" in (tmp_path / "log").read_text()


def test_a_service_that_always_fails_is_degraded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story() -> None:
        failing = role("bad", "fail", burst=2, longest_s=0.01, degraded_s=60.0)
        async with running(tmp_path, monkeypatch, failing) as tree:
            await until(tree, lambda: row(tree, "bad")[1:] == ("degraded", 3))

    asyncio.run(story())
    assert "this role always fails" in (tmp_path / "log").read_text()


def test_services_survive_a_killed_zygote(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def story() -> None:
        async with running(tmp_path, monkeypatch, role("one")) as tree:
            assert await tree.wait_ready(DEADLINE_S)
            zygote, service = row(tree, "zygote")[0], row(tree, "one")[0]
            os.kill(zygote, signal.SIGKILL)
            await until(tree, lambda: row(tree, "zygote")[0] != zygote)
            assert row(tree, "one")[0] == service
            os.kill(service, signal.SIGKILL)  # its end is noticed without the zygote that forked it
            await until(tree, lambda: row(tree, "one")[1:] == ("running", 1))

    asyncio.run(story())


def test_a_restarted_zygote_forks_any_number_of_children(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Thirty children; the zygote is killed after each of the first ten, the last forks twenty.

    The loop is the daemon's, with signal handlers: libuv's state in a fork of it is what made a
    second zygote fail at its tenth child.
    """
    monkeypatch.syspath_prepend(FOLDER)
    collector = Collector(10)
    config = TreeConfig(
        str(tmp_path), False, DaemonConfig(), QemuConfig(), {}, services=(), preload=(HERE,)
    )
    config.workers = {"box": role("box", "wait")}
    config.zygote_restarts = Policy(RestartOn.ALWAYS, burst=20, longest_s=0.1)
    tree = Tree(config, collector)
    collector.write_to([Output(0, "file", str(tmp_path / "log"))])

    async def kill_and_fork() -> None:
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGHUP, loop.stop)
        collector.listen(loop)
        tree.start(TreeHandlers)
        try:
            for number in range(30):
                name = f"box:{number}"
                tree.ensure_worker("box", str(number), "u")
                await until(tree, partial(is_running, tree, name))
                if number < 10:
                    zygote = row(tree, "zygote")[0]
                    os.kill(zygote, signal.SIGKILL)
                    await until(tree, partial(is_restarted, tree, zygote))
            assert {r.restarts for r in tree.status() if r.name.startswith("box:")} == {0}
        finally:
            await tree.stop()
            collector.close()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(kill_and_fork())


def test_a_replaced_worker_is_another_process_without_a_restart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story() -> None:
        async with running(tmp_path, monkeypatch, worker=role("box", "wait")) as tree:
            tree.ensure_worker("box", "demo", "u")
            first = await running_pid(tree, "box:demo")
            await tree.replace_worker("box:demo")
            second, state, restarts = row(tree, "box:demo")
            assert (state, restarts) == ("running", 0)
            assert second != first
            assert not alive(first)

    asyncio.run(story())
    assert "started again" not in (tmp_path / "log").read_text()


def test_a_renewed_worker_inherits_what_its_predecessor_hands_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story() -> None:
        async with running(tmp_path, monkeypatch, worker=role("box", "hand_over")) as tree:
            tree.ensure_worker("box", "demo", "u")
            first = await running_pid(tree, "box:demo")
            assert await tree.renew_worker("box:demo")
            second, state, restarts = row(tree, "box:demo")
            assert (state, restarts) == ("running", 0)
            assert second != first
            assert not await tree.renew_worker("box:nobody")

    asyncio.run(story())
    assert "inherited from the first, b'x'" in (tmp_path / "log").read_text()


def test_a_worker_that_hands_nothing_over_is_not_renewed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story() -> None:
        async with running(tmp_path, monkeypatch, worker=role("box", "wait")) as tree:
            tree.ensure_worker("box", "demo", "u")
            first = await running_pid(tree, "box:demo")
            assert not await tree.renew_worker("box:demo")
            assert row(tree, "box:demo")[0] == first

    asyncio.run(story())


def test_a_replacement_that_fails_is_restarted_by_its_policy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def story() -> None:
        worker = role("box", "wait_unless_replacement")
        async with running(tmp_path, monkeypatch, worker=worker) as tree:
            tree.ensure_worker("box", "demo", "u")
            await until(tree, lambda: row(tree, "box:demo")[1] == "running")
            await tree.replace_worker("box:demo")  # it returns, however that went
            await until(tree, lambda: row(tree, "box:demo")[1:] == ("running", 1))

    asyncio.run(story())


def test_only_a_running_worker_is_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def story() -> None:
        failing = role("box", "fail", burst=1, longest_s=0.01, degraded_s=60.0)
        async with running(tmp_path, monkeypatch, role("one"), worker=failing) as tree:
            assert await tree.wait_ready(DEADLINE_S)
            first = row(tree, "one")[0]
            await tree.replace_worker("one")  # a service is no worker
            await tree.replace_worker("box:nobody")
            tree.ensure_worker("box", "demo", "u")
            await until(tree, lambda: row(tree, "box:demo")[1] == "degraded")
            await tree.replace_worker("box:demo")
            assert row(tree, "box:demo")[1] == "degraded"
            assert row(tree, "one")[0] == first

    asyncio.run(story())
