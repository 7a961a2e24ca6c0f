"""Whose a container's device nodes are, where they are bound from, and what a reboot leaves."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conf.domain import Domain, parse_domain
from conf.domain.lxc.defaults import complete_container
from rpc.enums import DomainShutoffReason, DomainState
from rpc.errors import VirError
from supervisor.objects.domain_status_xml import Status
from supervisor.runtime.mounts import in_own_thread
from supervisor.workers.lxc.config import HostFacts, plan_config
from supervisor.workers.lxc.device_nodes import make_node, mapped_root
from supervisor.workers.lxc.filesystem_mounts import parse_mounts, read_only, read_only_command
from supervisor.workers.lxc.host_netdevs import parse_netdevs
from supervisor.workers.lxc.stop import set_shutoff_reason


def domain(inner: str = "", devices: str = "") -> Domain:
    text = (
        "<domain type='lxc'><name>box</name><memory unit='MiB'>64</memory>"
        f"<os><type arch='x86_64'>exe</type><init>/sbin/init</init></os>{inner}<devices>"
        "<filesystem type='mount'><source dir='/srv/root'/><target dir='/'/></filesystem>"
        f"{devices}</devices></domain>"
    )
    return complete_container(parse_domain(text), "x86_64")


MAPPED = (
    "<idmap><uid start='0' target='70000' count='10'/><uid start='10' target='9' count='1'/>"
    "<gid start='0' target='80000' count='10'/></idmap>"
)


def test_nodes_belong_to_the_container_s_root() -> None:
    assert mapped_root(domain()) == (0, 0)
    assert mapped_root(domain(MAPPED)) == (70000, 80000)


def test_a_node_is_bound_from_where_it_was_made() -> None:
    device = (
        "<hostdev mode='capabilities' type='misc'><source><char>/dev/x</char></source></hostdev>"
    )
    facts = HostFacts(
        group="g", device_numbers={"/dev/x": "1:2"}, nodes={"/dev/x": "/run/box/nodes/c-1-2"}
    )
    found = plan_config(domain(devices=device), facts).splitlines()
    assert "lxc.mount.entry = /run/box/nodes/c-1-2 dev/x none bind,create=file" in found


def test_what_is_no_device_is_named(tmp_path: Path) -> None:
    with pytest.raises(VirError, match="/nowhere"):
        make_node("/nowhere", tmp_path, (0, 0))


def test_what_a_thread_raises_is_raised() -> None:
    def fail() -> None:
        raise OSError(5, "so it is")

    with pytest.raises(OSError, match="so it is"):
        in_own_thread(fail)


def test_a_reboot_s_hook_marks_reboots_alone_and_stops_them(tmp_path: Path) -> None:
    marker = tmp_path / "a folder" / "rebooted"
    marker.parent.mkdir()
    facts = HostFacts(group="g", reboot_mark=str(marker))
    (line,) = (
        line for line in plan_config(domain(), facts).splitlines() if "hook.post-stop" in line
    )
    command = f"exec {line.partition(' = ')[2]}"  # as liblxc runs it

    def ended(target: str) -> int:
        environment = {**os.environ, "LXC_TARGET": target}
        words = ["/bin/sh", "-c", command]
        return subprocess.run(words, env=environment, check=False, timeout=20).returncode

    assert ended("stop") == 0
    assert not marker.exists()
    assert ended("reboot") == 1
    assert marker.exists()


@pytest.mark.parametrize(
    ("word", "restarts"),
    [("destroy", False), ("preserve", False), ("rename-restart", True), ("restart", True)],
)
def test_a_reboot_s_end_is_a_shutdown_and_goes_by_its_own_element(
    word: str, restarts: bool
) -> None:
    status = Status(name="box", uuid="u", id=1, state=DomainState.RUNNING, reason=1, pid=2)
    model = domain(f"<on_poweroff>restart</on_poweroff><on_reboot>{word}</on_reboot>")
    set_shutoff_reason(status, model, orderly=True, rebooted=True)
    assert (status.ending, status.restart) == (DomainShutoffReason.SHUTDOWN, restarts)


@given(names=st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1)))
def test_places_of_mounts_are_read_without_their_escapes(names: list[str]) -> None:
    escapes = {" ": "\\040", "\t": "\\011", "\n": "\\012", "\\": "\\134"}
    rows = (f"x /{''.join(escapes.get(one, one) for one in name)} tmpfs rw 0 0\n" for name in names)
    assert parse_mounts("".join(rows).encode()) == [f"/{name}" for name in names]


def test_what_mapped_users_may_only_read_is_bound_on_the_host() -> None:
    shared = (
        "<filesystem type='mount'><source dir='/srv/a'/><target dir='/a'/><readonly/></filesystem>"
        "<filesystem type='mount'><source dir='/srv/b'/><target dir='/b'/></filesystem>"
    )
    assert [one.target_dir for one in read_only(domain(MAPPED, shared))] == ["/a"]
    assert read_only(domain("", shared)) == []
    command = read_only_command("/srv/a", os.ST_NOSUID | os.ST_RDONLY, Path("/run/read0"))
    assert command[1:] == ["--make-private", "-o", "bind,ro,nosuid", "--", "/srv/a", "/run/read0"]


def test_network_devices_are_known_by_their_numbers_whatever_their_names() -> None:
    told = '[{"ifindex": 1, "ifname": "lo", "flags": []}, {"ifindex": 7, "ifname": "a@b"}]'
    assert parse_netdevs(told) == {1: "lo", 7: "a@b"}
    for hostile in ("", "[", '[{"ifindex": "x"}]', "{}"):
        with pytest.raises(VirError, match="cannot be read"):
            parse_netdevs(hostile)
