"""Failing starts of containers: at each step, and for each missing resource."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast
from uuid import NAMESPACE_URL, UUID, uuid4, uuid5

import pytest

from conf.domain import format_domain, parse_domain
from conf.domain.lxc.defaults import complete_container
from rpc.enums import DomainShutoffReason
from rpc.errors import ErrorCode, VirError
from supervisor.drivers.lxc import LXC
from supervisor.messages.worker import Start
from supervisor.objects.domain_status_xml import remove_status
from supervisor.runtime.child import ChildProcess
from supervisor.runtime.hooks import Hooks
from supervisor.runtime.paths import Paths
from supervisor.workers.cgroups import containers, hierarchies
from supervisor.workers.context import WorkerContext
from supervisor.workers.lxc.container import Container, ContainerResources
from supervisor.workers.lxc.reconnect import reconnect
from supervisor.workers.lxc.start import STEPS, StartContext, Step, finish_start, launch
from supervisor.workers.lxc.stop import clean_up, kill_processes, stop
from tests.clients.container_daemon import Boxes, boxes, groups
from tests.clients.containers import container
from tests.clients.libvirt_binding import libvirt

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="containers take root's rights")

BRIDGED = "<interface type='bridge'><source bridge='vvfault'/></interface>"


@pytest.fixture(scope="module")
def box() -> Iterator[Boxes]:
    with boxes() as held:
        subprocess.run(["ip", "link", "add", "vvfault", "type", "bridge"], check=True)
        yield held


@pytest.fixture(autouse=True)
def no_container_is_left(box: Boxes) -> Iterator[None]:
    yield
    box.end_all()


@dataclass
class Desk:
    """A process of a worker that nobody else talks to."""

    domain: str
    is_replacement: bool = False


def workplace(folder: Path) -> WorkerContext:
    paths = Paths.system(folder).for_driver("lxc")
    process = cast("ChildProcess", Desk("faulty"))
    return WorkerContext(process, Hooks(paths.hook("lxc")), LXC, paths)


@pytest.fixture
def root(box: Boxes) -> Iterator[Path]:
    """A daemon's root that mapped users may pass through."""
    folder = Path(tempfile.mkdtemp(dir=box.rootfs.parent))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def image(folder: Path) -> Path:
    path = folder / "image"
    subprocess.run(["truncate", "-s", "4M", str(path)], check=True, timeout=20)
    subprocess.run(["mkfs.ext4", "-q", str(path)], check=True, timeout=20)
    return path


def links() -> str:
    return subprocess.run(["ip", "-o", "link"], capture_output=True, text=True, check=True).stdout


def uuid_of(root: Path) -> UUID:
    """The UUID of the container in a root: cgroups of other runs of these tests have others."""
    return uuid5(NAMESPACE_URL, str(root))


def faulty(box: Boxes, root: Path) -> str:
    """The document of a container that has all that must be given back, in a root of its own."""
    (box.rootfs / "mnt").mkdir(exist_ok=True)
    extra = (
        f"<filesystem type='file'><driver type='loop'/><source file='{image(root)}'/>"
        "<target dir='/mnt'/></filesystem><hostdev mode='capabilities' type='misc'><source>"
        "<char>/dev/loop-control</char></source></hostdev>"
    )
    xml = container("faulty", box.rootfs, extra=extra)
    xml = re.sub("<uuid>.*</uuid>", f"<uuid>{uuid_of(root)}</uuid>", xml)
    (root / "run/libvirt/lxc").mkdir(parents=True)
    return format_domain(complete_container(parse_domain(xml), os.uname().machine))


def assert_nothing_is_left(root: Path) -> None:
    """No file, mount, loop device, group or process of the container in that root."""
    assert list((root / "run/libvirt/lxc").iterdir()) == []
    assert str(root) not in Path("/proc/self/mounts").read_text()
    loops = subprocess.run(["losetup", "-a"], capture_output=True, text=True, check=True).stdout
    assert str(root) not in loops
    assert [path for path in groups("faulty") if str(uuid_of(root))[:8] in path.name] == []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            assert os.fsencode(root) not in path.read_bytes()


async def start(root: Path, document: str, number: int, last: Step, *, paused: bool) -> None:
    """Start as far as a step, and then do something else."""
    request = Start(xml=document, id=1, paused=paused)
    await launch(workplace(root), request, [*STEPS[: number + 1], last])


@pytest.mark.parametrize("paused", [False, True])
@pytest.mark.parametrize("number", range(len(STEPS)))
def test_a_start_that_fails_after_any_step_leaves_nothing(
    box: Boxes, root: Path, number: int, paused: bool
) -> None:
    async def fail(attempt: StartContext) -> None:
        raise VirError(ErrorCode.INTERNAL_ERROR, f"a fault in {attempt.name}")

    with pytest.raises(VirError, match="a fault in faulty"):
        asyncio.run(start(root, faulty(box, root), number, fail, paused=paused))
    assert_nothing_is_left(root)


def die_after(root: str, number: str, paused: str) -> None:
    """Be a worker that is killed after a step of a start; run in a process of its own."""

    async def die(_: StartContext) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    document = sys.stdin.read()
    asyncio.run(start(Path(root), document, int(number), die, paused=paused == "True"))


@pytest.mark.parametrize("paused", [False, True])
@pytest.mark.parametrize("number", range(len(STEPS)))
def test_a_new_worker_ends_or_reconnects_after_a_death_at_any_step_of_a_start(
    box: Boxes, root: Path, number: int, paused: bool
) -> None:
    code = (
        "import sys; "
        "from tests.clients import test_container_faults as faults; faults.die_after(*sys.argv[1:])"
    )
    killed = subprocess.run(
        [sys.executable, "-c", code, str(root), str(number), str(paused)],
        input=faulty(box, root),
        text=True,
        check=False,
        timeout=60,
    )
    assert killed.returncode == -signal.SIGKILL

    async def take_over() -> bool:
        place = workplace(root)
        found = await reconnect(place, "faulty")
        if isinstance(found, Container):
            assert found.at_barrier is paused
            await stop(found, DomainShutoffReason.DESTROYED, graceful=False)
            await clean_up(place, found.status, found.live_xml)
        remove_status(place.paths.status("faulty"))
        return isinstance(found, Container)

    assert asyncio.run(take_over()) is (STEPS[number] is finish_start)
    assert_nothing_is_left(root)


def test_an_interface_is_removed_when_the_start_fails(box: Boxes) -> None:
    domain = box.link.defineXML(container("carded", box.rootfs, init="/none", extra=BRIDGED))
    with pytest.raises(libvirt.libvirtError, match="cannot find init path '/none'") as refused:
        domain.create()
    assert refused.value.get_error_code() == libvirt.VIR_ERR_INTERNAL_ERROR
    assert "vnet" not in links()
    assert list((box.daemon.root / "run/libvirt/network/taps").iterdir()) == []
    assert groups("carded") == []
    assert not domain.isActive()


@pytest.mark.parametrize(
    ("change", "code", "words"),
    [
        (("<devices>", "<devices><filesystem type='mount'><source dir='/no/such'/>"
          "<target dir='/x'/></filesystem>"), "INTERNAL_ERROR", "target dir='/x'.*'/no/such'"),
        (("<source dir='{root}'/>", "<source dir='/gone'/>"), "INTERNAL_ERROR", "'/gone'"),
        (("</os>", "<inituser>nobody-here</inituser></os>"), "CONFIG_UNSUPPORTED", "inituser"),
        (("</devices>", "<hostdev mode='capabilities' type='misc'><source>"
          "<char>/dev/no-such</char></source></hostdev></devices>"), "INTERNAL_ERROR", "no-such"),
        (("</devices>", "<interface type='bridge'><source bridge='nobridge'/></interface>"
          "</devices>"), "OPERATION_FAILED|SYSTEM_ERROR|INTERNAL_ERROR", "nobridge|No such device"),
        (("<vcpu>1</vcpu>", "<vcpu>1</vcpu><cputune><shares>1</shares></cputune>"),
         "CONFIG_UNSUPPORTED", "shares"),
        (("</os>", "<initenv name='A'>one\ntwo</initenv></os>"), "CONFIG_UNSUPPORTED", "control"),
    ],
)  # fmt: skip
def test_the_error_names_the_resource_that_is_missing_or_wrong(
    box: Boxes, change: tuple[str, str], code: str, words: str
) -> None:
    before = change[0].format(root=box.rootfs)
    xml = container("wrong", box.rootfs)
    assert before in xml
    with pytest.raises(libvirt.libvirtError, match=words) as refused:
        box.link.createXML(xml.replace(before, change[1], 1))
    codes = [getattr(libvirt, f"VIR_ERR_{name}") for name in code.split("|")]
    assert refused.value.get_error_code() in codes
    assert box.link.listAllDomains() == []
    assert groups("wrong") == []
    assert "vnet" not in links()


def test_a_new_worker_ends_the_unfinished_start_of_a_killed_one(box: Boxes) -> None:
    group = containers.group_name(str(uuid4()), "orphan")
    folder = Path("/sys/fs/cgroup")
    made: list[Any] = []
    for root in hierarchies.layout().hierarchies.values():
        (root / group / "below").mkdir(parents=True)
        made.append(root / group)
    sleeper = subprocess.Popen(["sleep", "60"])
    (made[0] / "below/cgroup.procs").write_text(str(sleeper.pid))
    assert folder in made[0].parents

    async def end() -> None:
        await kill_processes(box.daemon.root, ContainerResources(group=group))

    try:
        asyncio.run(end())
        assert sleeper.wait(5) < 0
        assert not any(path.exists() for path in made)
    finally:
        sleeper.kill()
        sleeper.wait(5)
