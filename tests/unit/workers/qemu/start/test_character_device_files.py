"""Which files of character devices are given to QEMU's user: those that QEMU itself opens."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from conf.domain import parse_domain
from supervisor.workers.qemu.start.files import domain_files

XML = (
    "<domain type='qemu'><name>d</name><memory>1024</memory><os><type arch='x86_64' "
    "machine='pc'>hvm</type></os><devices>{}</devices></domain>"
)
KEEP = "<seclabel model='dac' relabel='no'/>"


def given(devices: str) -> list[str]:
    files = domain_files(parse_domain(XML.format(devices)))
    return [file.path for file in files if not file.keeps_owner]


@pytest.mark.parametrize(
    ("device", "expected"),
    [
        ("<serial type='unix'><source mode='connect' path='/s'/></serial>", ["/s"]),
        ("<serial type='unix'><source mode='bind' path='/s'/></serial>", []),
        (
            "<channel type='unix'><source mode='connect' path='/s'/>"
            "<target type='virtio' name='a'/></channel>",
            ["/s"],
        ),
        ("<serial type='dev'><source path='/dev/ttyS9'/></serial>", ["/dev/ttyS9"]),
        (f"<serial type='unix'><source mode='connect' path='/s'>{KEEP}</source></serial>", []),
        ("<serial type='pty'/>", []),
        ("<serial type='file'><source path='/log'/></serial>", []),
    ],
)
def test_sockets_to_connect_to_and_host_devices_are_given(device: str, expected: list[str]) -> None:
    assert given(device) == expected


def test_a_pipe_is_given_as_one_file_or_two(tmp_path: Path) -> None:
    device = f"<serial type='pipe'><source path='{tmp_path}/p'/></serial>"
    assert given(device) == [f"{tmp_path}/p"]
    for end in ("in", "out"):
        os.mkfifo(tmp_path / f"p.{end}")
    assert given(device) == [f"{tmp_path}/p.in", f"{tmp_path}/p.out"]
