"""From containers' documents to liblxc's configuration, without root and without liblxc."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conf.domain import Domain, parse_domain
from conf.domain.devices.filesystem import FilesystemSource
from conf.domain.lxc.defaults import complete_container
from conf.domain.lxc.model import InitVariable
from conf.errors import ConfError
from supervisor.workers.cgroups import containers, hierarchies
from supervisor.workers.cgroups.changes import plan_change
from supervisor.workers.cgroups.group import Limit
from supervisor.workers.cgroups.limits import UNLIMITED_KIB, limits_from
from supervisor.workers.cgroups.readings import as_kib
from supervisor.workers.lxc.calls.namespaces import namespace_pid
from supervisor.workers.lxc.checks import lookup_id
from supervisor.workers.lxc.config import HostFacts, LxcInterface, plan_config
from supervisor.workers.lxc.config.plan import hostname
from supervisor.workers.lxc.interfaces import free_name, route_commands
from supervisor.workers.lxc.liblxc import (
    MAX_SOCKET_NAME,
    error_cause,
    fnv_1a,
    socket_name,
    start_command,
)
from supervisor.workers.lxc.lifecycle import (
    REBOOT,
    REQUEST,
    SHUTDOWN,
    ShutdownMethod,
    initctl_request,
    signal_for,
)
from supervisor.workers.lxc.stats import parse_blkio_v1, parse_io_stat

LEGACY = frozenset({"cpu", "cpuacct", "memory", "cpuset", "blkio", "devices", "freezer", "pids"})


def domain(inner: str = "", devices: str = "", os: str = "", root: str = "/srv/root") -> Domain:
    text = (
        "<domain type='lxc'><name>box</name><memory unit='MiB'>64</memory>"
        f"<os><type arch='x86_64'>exe</type><init>/sbin/init</init>{os}</os>{inner}<devices>"
        f"<filesystem type='mount'><source dir='{root}'/><target dir='/'/></filesystem>{devices}"
        "</devices></domain>"
    )
    return complete_container(parse_domain(text), "x86_64")


def lines(model: Domain, facts: HostFacts | None = None) -> list[str]:
    return plan_config(model, facts or HostFacts(group="g", v1_controllers=LEGACY)).splitlines()


def test_a_plain_container_has_its_root_its_limits_and_no_device_of_the_host() -> None:
    found = lines(domain())
    assert "lxc.rootfs.path = dir:/srv/root" in found
    assert "lxc.uts.name = box" in found
    assert "lxc.cgroup.memory.limit_in_bytes = 67108864" in found
    assert "lxc.cgroup.devices.deny = a" in found
    assert not any("b " in line for line in found if "devices.allow" in line)
    assert "lxc.cap.drop = audit_control mac_admin mknod sys_module sys_time" in found
    assert "lxc.net.0.type = none" in found  # the host's network, as with stock


def test_version_2_of_cgroups_has_other_files() -> None:
    inner = "<memtune><swap_hard_limit unit='MiB'>96</swap_hard_limit></memtune><cputune>" \
        "<shares>500</shares><period>50000</period><quota>25000</quota></cputune>"  # fmt: skip
    found = lines(domain(inner), HostFacts(group="g"))
    assert "lxc.cgroup2.memory.max = 67108864" in found
    assert "lxc.cgroup2.memory.swap.max = 33554432" in found
    assert "lxc.cgroup2.cpu.weight = 500" in found
    assert "lxc.cgroup2.cpu.max = 25000 50000" in found
    assert not any(line.startswith("lxc.cgroup.") and "dir" not in line and "relative" not in line
                   for line in found)  # fmt: skip


@pytest.mark.parametrize(
    ("said", "line"),
    [
        ("<capabilities policy='allow'><chown state='off'/></capabilities>", "drop = chown"),
        ("<capabilities policy='deny'><kill state='on'/></capabilities>", "keep = kill"),
        ("<capabilities policy='deny'/>", "keep = none"),
        (
            "<capabilities policy='default'><mknod state='on'/></capabilities>",
            "drop = audit_control mac_admin sys_module sys_time",
        ),
    ],
)
def test_capabilities_are_dropped_or_kept_as_their_policy_says(said: str, line: str) -> None:
    assert f"lxc.cap.{line}" in lines(domain(f"<features>{said}</features>"))


def test_cards_go_in_by_their_names_with_addresses_and_the_default_route() -> None:
    devices = (
        "<interface type='bridge'><source bridge='br0'/><guest dev='front0'/>"
        "<ip address='192.0.2.5' family='ipv4' prefix='24'/>"
        "<route family='ipv4' address='0.0.0.0' gateway='192.0.2.1'/>"
        "<route family='ipv4' address='198.51.100.0' prefix='24' gateway='192.0.2.9'/>"
        "</interface>"
    )
    model = domain(devices=devices)
    facts = HostFacts(group="g", interfaces={0: LxcInterface("vnet0p", "front0")})
    found = [line for line in lines(model, facts) if ".net." in line]
    assert found == [
        "lxc.net.0.type = phys",
        "lxc.net.0.link = vnet0p",
        "lxc.net.0.name = front0",
        "lxc.net.0.ipv4.address = 192.0.2.5/24",
        "lxc.net.0.ipv4.gateway = 192.0.2.1",
        "lxc.net.0.flags = up",
    ]
    (command,) = route_commands("front0", model.devices.interfaces[0].routes)
    assert command[1:] == [
        *("route", "add", "198.51.100.0/24", "via", "192.0.2.9", "dev", "front0"),
    ]
    assert free_name(model) == "eth0"


def test_file_systems_become_mounts_with_their_words_quoted() -> None:
    devices = (
        "<filesystem type='mount'><source dir='/a b'/><target dir='/c#d'/><readonly/></filesystem>"
        "<filesystem type='ram'><source usage='8' units='MiB'/><target dir='/ram'/></filesystem>"
        "<filesystem type='file'><source file='/image'/><target dir='/image'/></filesystem>"
        "<filesystem type='bind'><source dir='/#etc'/><target dir='/bound'/></filesystem>"
    )
    found = lines(
        domain(devices=devices), HostFacts(group="g", mount_points={"/image": "/run/image0"})
    )
    entries = [line.partition(" = ")[2] for line in found if ".entry" in line]
    assert entries == [
        "/a\\040b c#d none rbind,ro,create=dir",
        "tmpfs ram tmpfs size=8192k,mode=755,nosuid,nodev,create=dir",
        "/run/image0 image none rbind,create=dir",
        "./#etc bound none bind,relative,create=dir",
    ]


@given(st.text(max_size=40), st.text(alphabet=st.characters(exclude_characters="\0"), max_size=40))
def test_no_word_of_a_document_becomes_a_line_of_its_own(name: str, value: str) -> None:
    model = domain()
    expected = len(lines(model)) + 1
    model.os.init_variables = [InitVariable(name="X", value=value)]
    model.devices.filesystems[0].source = FilesystemSource(dir=f"/{name}")
    try:
        found = plan_config(model, HostFacts(group="g", v1_controllers=LEGACY))
    except ConfError:
        return
    settings = found.rstrip("\n").split("\n")
    assert len(settings) == expected
    keys = [line.partition(" = ")[0] for line in settings]
    assert all(key.startswith("lxc.") for key in keys)


@given(st.text(max_size=80))
def test_any_name_gives_a_host_s_name(name: str) -> None:
    found = hostname(name)
    assert 0 < len(found) <= 63
    assert all(
        character.isascii() and (character.isalnum() or character in "-.") for character in found
    )


def test_numbers_out_of_range_are_refused() -> None:
    for inner in (
        "<cputune><shares>1</shares></cputune>",
        "<memtune><swap_hard_limit unit='MiB'>1</swap_hard_limit></memtune>",
        "<blkiotune><device><path>/dev/none</path><weight>500</weight></device></blkiotune>",
    ):
        xml = (
            f"<domain type='lxc'><name>x</name><memory>4096</memory>{inner}"
            "<os><type>exe</type></os></domain>"
        )
        with pytest.raises(ConfError):
            limits_from(parse_domain(xml), LEGACY, {})


def test_only_what_differs_is_changed_and_throttles_that_went_are_lifted() -> None:
    shares, other = Limit("cpu", "cpu.shares", "512"), Limit("cpu", "cpu.shares", "1024")
    throttle = Limit("blkio", "blkio.throttle.read_bps_device", "8:0 4096")
    assert plan_change([other], [other]) == []
    assert plan_change([other, throttle], [shares]) == [
        Limit("blkio", "blkio.throttle.read_bps_device", "8:0 0"),
        shares,
    ]
    lifted = plan_change([Limit("blkio", "io.max", "8:0 rbps=4096")], [])
    assert lifted == [Limit("blkio", "io.max", "8:0 rbps=max")]
    assert as_kib("max") == as_kib(str(2**63 - 4096)) == UNLIMITED_KIB


def test_the_monitor_s_socket_has_a_short_name_however_deep_its_folder() -> None:
    assert socket_name(Path("/run/x.d")) == b"\0/run/x.d/c/command"
    deep = socket_name(Path("/" + "deep/" * 40))
    assert len(deep) <= MAX_SOCKET_NAME
    assert deep.startswith(b"\0lxc/")
    assert fnv_1a(b"a") == 0xAF63DC4C8601EC8C  # the authors' own test vector


def test_hierarchies_are_found_by_controller_and_name() -> None:
    mounts = (
        "1 0 0:1 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu,cpuacct\n"
        "2 0 0:2 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd\n"
        "3 0 0:3 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n"
        "4 0 0:4 / /tmp rw - tmpfs tmpfs rw\nbroken\n"
    )
    layout = hierarchies.parse_layout(mounts)
    assert layout.v1_controllers == {"cpu", "cpuacct", "name=systemd"}
    assert layout.folder("cpu", "g") == Path("/sys/fs/cgroup/cpu/g")
    assert layout.folder("memory", "g") == Path("/sys/fs/cgroup/unified/g")
    name = containers.group_name("12345678-0000", "a b/c", "/machine/web")
    assert name == "machine/web.partition/lxc-a_b_c-12345678"


def test_figures_of_disks_are_summed_in_both_versions() -> None:
    old = "8:0 Read 10\n8:0 Write 20\n8:16 Read 1\nTotal 31\n"
    assert parse_blkio_v1(old, "") == {"rd": 11, "wr": 20}
    assert parse_blkio_v1(old, "8:16") == {"rd": 1, "wr": 0}
    new = "8:0 rbytes=1 wbytes=2 rios=3 wios=4\n8:16 rbytes=10\n"
    assert parse_io_stat(new, "") == {"rd_bytes": 11, "wr_bytes": 2, "rd_req": 3, "wr_req": 4}


def test_a_container_that_maps_users_is_not_told_that_it_has_hardware() -> None:
    ranges = "".join(f"<{kind} start='0' target='9' count='9'/>" for kind in ("uid", "gid"))
    for inner, dropped in ((f"<idmap>{ranges}</idmap>", True), ("", False)):
        (line,) = (one for one in lines(domain(inner)) if one.startswith("lxc.cap.drop"))
        assert ("sys_rawio" in line) is dropped


def test_init_is_asked_as_it_reads_its_pipe() -> None:
    assert REQUEST.size == 384
    assert initctl_request(0)[:12] == b"\x69\x19\x09\x03" + b"\1\0\0\0" + b"0\0\0\0"


@pytest.mark.parametrize(
    ("blocked", "order", "number"),
    [
        ("7fe3c0fe28014a03", SHUTDOWN, 38),  # as systemd 252 has it
        ("7fe3c0fe28014a03", REBOOT, 39),
        ("0000000000010000", SHUTDOWN, 15),
        ("0000000000000000", REBOOT, 1),
    ],
)
def test_systemd_gets_signals_of_its_own(blocked: str, order: ShutdownMethod, number: int) -> None:
    status = f"Name:\tx\x0cSigBlk:\tno\nSigQ:\t0/95\nSigBlk:\t{blocked}\nSigCgt:\t0\n"
    assert signal_for(order, status) == number
    assert signal_for(order, "") == order.signal


def test_complaints_of_liblxc_are_told_by_their_cause() -> None:
    said = (
        "lxc-start c 2026 ERROR    start - ../src/lxc/start.c:start:2197 - No such file or "
        'directory - Failed to exec "/none"\nlxc-start c 2026 ERROR    sync - x - later'
    )
    told = "cannot find init path '/none' relative to container root: No such file or directory"
    assert error_cause(said) == told
    assert error_cause("something else") == "something else"


def test_a_start_is_one_command_with_init_s_words_as_they_are() -> None:
    command = start_command(Path("/run/x.d"), Path("/log"), ["/sbin/init", "a b", "--daemon"])
    assert command[-4:] == ["--", "/sbin/init", "a b", "--daemon"]
    assert lookup_id("root:x:0:0\nweb:x:33:33", "web") == 33
    assert lookup_id("web:x:no", "web") is None
    assert namespace_pid("Name: x\nNSpid:\t4321\t7\n") == 7
