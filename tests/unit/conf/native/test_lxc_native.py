"""LXC's own configuration files as documents of containers."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conf.domain import Domain, parse_domain
from conf.domain.lxc.defaults import complete_container
from conf.errors import ConfError
from conf.native.lxc import domain_xml_of

ROOT = "lxc.rootfs.path = dir:/srv/box\n"


def read(text: str) -> Domain:
    return complete_container(parse_domain(domain_xml_of(text)), "x86_64")


def test_a_plain_file_is_a_container_with_a_network_of_its_own() -> None:
    result = read("# a comment\nlxc.uts.name = box\n" + ROOT)
    assert result.name == "box"
    assert result.os.init == "/sbin/init"
    assert result.memory == 65536
    (root,) = result.devices.filesystems
    assert (root.type, root.source_path, root.target_dir) == ("mount", "/srv/box", "/")
    assert len(result.devices.consoles) == 1
    assert "<privnet/>" in domain_xml_of(ROOT)
    assert "<privnet/>" not in domain_xml_of(ROOT + "lxc.net.0.type = none\n")


def test_older_and_newer_names_mean_the_same() -> None:
    older = (
        "lxc.utsname = box\nlxc.rootfs = /srv/box\nlxc.tty = 2\nlxc.id_map = u 0 100000 10\n"
        "lxc.id_map = g 0 100000 10\nlxc.network.type = veth\nlxc.network.link = br0\n"
        "lxc.network.flags = up\nlxc.network.ipv4 = 10.0.0.5/24\n"
    )
    newer = (
        "lxc.uts.name = box\nlxc.rootfs.path = dir:/srv/box\nlxc.tty.max = 2\n"
        "lxc.idmap = u 0 100000 10\nlxc.idmap = g 0 100000 10\nlxc.net.0.type = veth\n"
        "lxc.net.0.link = br0\nlxc.net.0.flags = up\nlxc.net.0.ipv4.address = 10.0.0.5/24\n"
    )
    assert domain_xml_of(older) == domain_xml_of(newer)


def test_cards_become_interfaces_and_lent_devices() -> None:
    text = ROOT + (
        "lxc.net.0.type = veth\nlxc.net.0.link = br0\nlxc.net.0.name = lan\n"
        "lxc.net.0.hwaddr = 52:54:00:00:00:01\nlxc.net.0.flags = up\n"
        "lxc.net.0.ipv4.address = 10.0.0.5/24\nlxc.net.0.ipv4.gateway = 10.0.0.1\n"
        "lxc.net.1.type = macvlan\nlxc.net.1.link = eth1\nlxc.net.1.macvlan.mode = bridge\n"
        "lxc.net.2.type = phys\nlxc.net.2.link = eth2\n"
        "lxc.net.3.type = vlan\nlxc.net.3.link = eth3\nlxc.net.3.vlan.id = 7\n"
    )
    result = read(text)
    first, second = result.devices.interfaces
    assert first.source is not None
    assert second.source is not None
    assert (first.type, first.source.bridge, first.guest_dev) == ("bridge", "br0", "lan")
    assert first.mac == "52:54:00:00:00:01"
    assert str(first.ips[0].address) == "10.0.0.5"
    assert str(first.routes[0].gateway) == "10.0.0.1"
    assert (second.type, second.source.dev, second.source.mode) == ("direct", "eth1", "bridge")
    assert [item.source.interface for item in result.devices.hostdevs] == ["eth2", "eth3.7"]


def test_limits_of_both_versions_of_cgroups_are_read() -> None:
    first = read(
        ROOT + "lxc.cgroup.memory.limit_in_bytes = 512M\nlxc.cgroup.cpu.shares = 300\n"
        "lxc.cgroup.cpuset.cpus = 0-1\nlxc.cgroup.memory.memsw.limit_in_bytes = 1G\n"
    )
    assert first.memory == 512 << 10
    assert '<swap_hard_limit unit="KiB">1048576<' in domain_xml_of(
        ROOT + "lxc.cgroup.memory.memsw.limit_in_bytes = 1G\n"
    )
    second = read(ROOT + "lxc.cgroup2.memory.max = 256M\n")
    assert second.memory == 256 << 10
    assert "<shares>300</shares>" in domain_xml_of(ROOT + "lxc.cgroup.cpu.shares = 300\n")


def test_mounts_are_file_systems_and_the_kernel_s_own_are_left_out() -> None:
    result = read(
        ROOT + "lxc.mount.entry = proc proc proc nodev 0 0\n"
        "lxc.mount.entry = /srv/data srv/data none bind,ro,create=dir 0 0\n"
        "lxc.mount.entry = tmpfs /srv/box/tmp tmpfs size=8m 0 0\n"
        "lxc.mount.entry = /dev/vg/one mnt ext4 defaults 0 0\n"
    )
    _, data, memory, block = result.devices.filesystems
    assert (data.source_path, data.target_dir, data.readonly) == ("/srv/data", "/srv/data", True)
    assert (memory.type, memory.usage, memory.target_dir) == ("ram", 8192, "/tmp")
    assert (block.type, block.source_path, block.target_dir) == ("block", "/dev/vg/one", "/mnt")


def test_init_its_words_and_capabilities_are_taken_over() -> None:
    text = domain_xml_of(
        ROOT + "lxc.init.cmd = /sbin/start --now 'two words'\nlxc.cap.drop = sys_module mac_admin\n"
        "lxc.environment = LANG=C\n"
    )
    model = parse_domain(text)
    assert model.os.init == "/sbin/start"
    assert model.os.init_args == ["--now", "two words"]
    assert '<sys_module state="off"/>' in text
    assert '<initenv name="LANG">C</initenv>' in text


@pytest.mark.parametrize(
    ("text", "kind", "values"),
    [
        ("lxc.uts.name = box\n", "invalid_arg", "Missing lxc.rootfs"),
        ("nonsense\n", "invalid_arg", "line 1"),
        (ROOT + "lxc.mount.fstab = /etc/fstab\n", "argument_unsupported", "lxc.mount.entry"),
        ("lxc.rootfs.path = overlay:/a:/b\n", "argument_unsupported", "overlay"),
        (ROOT + "lxc.idmap = u 0 ten 10\n", "invalid_arg", "lxc.idmap"),
        (ROOT + "lxc.cgroup.memory.limit_in_bytes = much\n", "invalid_arg", "much"),
        (ROOT + "lxc.net.0.type = veth\nlxc.net.0.ipv4.address = 1.2.3\n", "invalid_arg", "1.2.3"),
        (ROOT + "lxc.init.cmd = 'open\n", "invalid_arg", "quotation"),
        (ROOT + "lxc.uts.name = a\x01b\n", "invalid_arg", "XML"),
    ],
)
def test_what_cannot_be_is_refused_by_name(text: str, kind: str, values: str) -> None:
    with pytest.raises(ConfError, match=values) as refused:
        domain_xml_of(text)
    assert refused.value.kind == kind


KEYS = st.sampled_from(
    [
        "lxc.uts.name", "lxc.rootfs.path", "lxc.idmap", "lxc.net.0.type", "lxc.net.0.link",
        "lxc.net.0.ipv4.address", "lxc.network.type", "lxc.network.hwaddr", "lxc.tty.max",
        "lxc.mount.entry", "lxc.cap.drop", "lxc.cap.keep", "lxc.init.cmd", "lxc.environment",
        "lxc.cgroup.memory.limit_in_bytes", "lxc.cgroup.cpu.shares", "lxc.cgroup.cpuset.cpus",
    ]
)  # fmt: skip
VALUES = st.one_of(
    st.text(max_size=20),
    st.sampled_from(
        ["veth", "macvlan", "u 0 1 2", "/a b none bind", "-1", "12", "'", "10.0.0.1/8"]
    ),
)


@given(st.lists(st.tuples(KEYS, VALUES), max_size=8))
def test_any_text_is_a_document_or_is_refused(lines: list[tuple[str, str]]) -> None:
    text = ROOT + "".join(f"{key} = {value}\n" for key, value in lines)
    with contextlib.suppress(ConfError):
        assert complete_container(parse_domain(domain_xml_of(text)), "x86_64").type == "lxc"
