"""Every backend that is a character device in the host writes through descriptors."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from conf.domain import parse_domain
from conf.settings import QemuConfig
from ipc import Descriptor, PeerGone
from supervisor.messages.logd import LogOpened, OpenLog
from supervisor.workers.context import WorkerContext
from supervisor.workers.qemu.outputs import Outputs, output_sources

TCP = "<source mode='connect' host='h' service='1'/>"


@pytest.mark.parametrize(
    ("device", "found"),
    [
        ("<serial type='pty'/>", True),
        ("<console type='pty'><target type='virtio'/></console>", True),
        ("<channel type='pty'><target type='virtio' name='n'/></channel>", True),
        (f"<redirdev bus='usb' type='tcp'>{TCP}<protocol type='raw'/></redirdev>", True),
        (f"<smartcard mode='passthrough' type='tcp'>{TCP}</smartcard>", True),
        ("<smartcard mode='host'/>", False),
        (f"<rng model='virtio'><backend model='egd' type='tcp'>{TCP}</backend></rng>", True),
        ("<rng model='virtio'><backend model='random'>/dev/urandom</backend></rng>", False),
    ],
)
def test_the_log_of_a_device_is_opened_for_qemu(device: str, *, found: bool) -> None:
    logged = device
    if found:
        end = device.rindex("</" if "</" in device else "/>")
        name = device[1:].split(" ")[0]
        body = "<log file='/log'/>"
        if name == "rng":
            logged = device.replace("</backend>", f"{body}</backend>")
        elif "</" in device:
            logged = f"{device[:end]}{body}{device[end:]}"
        else:
            logged = f"{device[:end]}>{body}</{name}>"
    domain = parse_domain(
        "<domain type='qemu'><name>d</name><memory>1024</memory><os>"
        f"<type arch='x86_64' machine='q35'>hvm</type></os><devices>{logged}</devices></domain>"
    )
    assert [source.log_file for _, source in output_sources(domain)] == (["/log"] if found else [])


class DyingLogd:
    """A logd that ends over the first pipe that it is asked for."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def call(self, request: OpenLog) -> LogOpened:
        self.asked.append(request.path)
        if len(self.asked) == 1:
            raise PeerGone("logd ended before it replied")
        return LogOpened(end=Descriptor(os.open(os.devnull, os.O_WRONLY)))


async def test_a_pipe_is_asked_for_again_where_logd_died(tmp_path: Path) -> None:
    logd = DyingLogd()
    context = SimpleNamespace(
        node=SimpleNamespace(link=lambda name: logd),
        process=SimpleNamespace(domain="web"),
        config=QemuConfig(),
    )
    outputs = Outputs(cast(WorkerContext, context))
    with contextlib.ExitStack() as closing:
        fd = await outputs.open_stdio(tmp_path / "web.log", closing)
        os.fstat(fd)
    assert logd.asked == [f"{tmp_path}/web.log"] * 2
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(fd)
