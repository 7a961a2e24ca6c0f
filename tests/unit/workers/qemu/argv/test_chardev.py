"""chardev-add of a running QEMU has the same options as its command line."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conf.errors import ConfError
from supervisor.workers.qemu.argv.syntax import options_of
from supervisor.workers.qemu.hotplug.chardevs import chardev_arguments, parse_members


@given(st.dictionaries(st.sampled_from(["id", "path", "host", "port"]), st.text("a,=/:.0")))
def test_members_are_read_as_they_were_written(members: dict[str, str]) -> None:
    assert parse_members(options_of(("socket",), members)) == ("socket", members)


@pytest.mark.parametrize(
    ("text", "backend"),
    [
        ("pty,id=a", {"type": "pty", "data": {}}),
        (
            "socket,id=a,path=/run/a,,b,server=on,wait=off",
            {
                "type": "socket",
                "data": {
                    "addr": {"type": "unix", "data": {"path": "/run/a,b"}},
                    "server": True,
                    "wait": False,
                },
            },
        ),
        (
            "socket,id=a,host=::1,port=23,telnet=on,reconnect=3",
            {
                "type": "socket",
                "data": {
                    "addr": {"type": "inet", "data": {"host": "::1", "port": "23"}},
                    "server": False,
                    "telnet": True,
                    "reconnect": 3,
                },
            },
        ),
        (
            "file,id=a,path=/a,append=on,logfile=/l,logappend=off",
            {
                "type": "file",
                "data": {"out": "/a", "append": True, "logfile": "/l", "logappend": False},
            },
        ),
    ],
)
def test_each_kind_has_its_shape(text: str, backend: dict[str, object]) -> None:
    assert chardev_arguments(text) == {"id": "a", "backend": backend}


def test_a_kind_that_cannot_come_is_named() -> None:
    with pytest.raises(ConfError, match="'vc'") as refused:
        chardev_arguments("vc,id=a")
    assert refused.value.kind == "operation_unsupported"
