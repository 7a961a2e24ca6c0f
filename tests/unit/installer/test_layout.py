"""What an installation consists of: units, users, policies, the Debian package's control files."""

from __future__ import annotations

import configparser
import re
import subprocess
import sys
from pathlib import Path

import pytest
from lxml import etree

from installer.access_policy import policy
from installer.deb import REPLACED, control, scripts
from installer.install import ENABLED, UNITS, Layout, copy_files, files_of, write_launchers
from rpc.access_table import load_access
from supervisor.root.sockets import BY_TCP_UNIT, BY_UNIT

USR = Path("/usr")


@pytest.fixture
def staged(tmp_path: Path) -> Path:
    layout = Layout(USR, tmp_path)
    copy_files(layout)
    write_launchers(layout)
    return tmp_path


def unit(root: Path, name: str) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read(root / "lib/systemd/system" / name)
    return parser


def test_every_socket_that_the_daemon_knows_has_a_unit_that_starts_it(staged: Path) -> None:
    for name in (*BY_UNIT, *BY_TCP_UNIT):
        assert unit(staged, f"{name}.socket")["Socket"]["Service"] == "libvirtd.service"
    assert set(ENABLED) <= set(UNITS)


def test_the_service_keeps_guests_and_reports_its_readiness(staged: Path) -> None:
    service = unit(staged, "libvirtd.service")["Service"]
    assert service["Type"] == "notify"
    assert service["KillMode"] == "process"
    assert service["ExecStart"].split()[0] == "/usr/sbin/libvirtd"


def test_a_profile_that_libvirts_removed_package_left_does_not_confine_the_service(
    staged: Path,
) -> None:
    assert unit(staged, "libvirtd.service")["Service"]["AppArmorProfile"] == "-unconfined"


#: systemd.exec(5), "Sandboxing": each gives the service a mount namespace of its own.
MOUNT_NAMESPACE = re.compile(
    r"Private(Tmp|Devices|Mounts|IPC)|Protect(System|Home|Kernel\w+|ControlGroups|Proc)|ProcSubset|"
    r"(ReadWrite|ReadOnly|Inaccessible|Exec|NoExec|BindReadOnly|Bind)Paths|TemporaryFileSystem|"
    r"Root\w+|MountFlags|DynamicUser"
)


def test_pools_mounts_are_the_hosts_and_containers_inherit_no_ban(staged: Path) -> None:
    directives = list(unit(staged, "libvirtd.service")["Service"])
    assert not [name for name in directives if MOUNT_NAMESPACE.fullmatch(name)]
    assert not [
        name for name in directives if re.match("Restrict|SystemCall|Lock|MemoryDeny", name)
    ]


def test_no_placeholder_is_left_in_a_unit(staged: Path) -> None:
    for name in UNITS:
        assert "@" not in (staged / "lib/systemd/system" / name).read_text()


def test_the_programs_run_in_the_environment_of_the_installation(staged: Path) -> None:
    for program in ("usr/sbin/libvirtd", "usr/bin/virtvisorctl"):
        first = (staged / program).read_text().splitlines()[0]
        assert first == "#!/usr/lib/virtvisor/bin/python3 -I"
        assert (staged / program).stat().st_mode & 0o777 == 0o755


def test_the_package_has_no_file_in_etc_that_libvirts_has_too(staged: Path) -> None:
    assert not (staged / "etc").exists()
    # The unit has the options, and the administrator's file goes before them.
    lines = (staged / "lib/systemd/system/libvirtd.service").read_text().splitlines()
    options = lines.index('Environment="LIBVIRTD_ARGS=--timeout 120"')
    assert options < lines.index("EnvironmentFile=-/etc/default/libvirtd")


def test_a_prefix_of_its_own_has_its_units_where_systemd_reads_them() -> None:
    targets = files_of(Layout(Path("/usr/local"), Path("/")))
    assert Path("/etc/systemd/system/libvirtd.service") in targets
    assert Path("/usr/local/share/doc/virtvisor/libvirtd.md") in targets


def test_the_policy_names_the_actions_that_authd_asks_for(staged: Path) -> None:
    policy = etree.parse(str(staged / "usr/share/polkit-1/actions/org.libvirt.unix.policy"))
    actions = [str(node.get("id")) for node in policy.getroot().iter("action")]
    assert actions == ["org.libvirt.unix.monitor", "org.libvirt.unix.manage"]


def test_the_policy_has_each_permission_and_gives_everybody_what_only_reads(staged: Path) -> None:
    written = (staged / "usr/share/polkit-1/actions/org.libvirt.api.policy").read_text()
    assert written == policy(), "python -m installer.access_policy > installer/polkit/…"
    allowed = {
        str(action.get("id")): action.findtext("defaults/allow_any")
        for action in etree.fromstring(written.encode()).iter("action")
    }
    assert len(allowed) == len(load_access().permissions)
    assert allowed["org.libvirt.api.storage-vol.data-write"] == "no"
    assert allowed["org.libvirt.api.domain.getattr"] == "yes"


def test_the_package_is_for_one_python_and_never_beside_debians_daemon() -> None:
    text = control((3, 11), "amd64", 1)
    assert "python3 (>= 3.11), python3 (<< 3.12)" in text
    conflicts = next(line for line in text.splitlines() if line.startswith("Conflicts: "))
    assert set(conflicts.removeprefix("Conflicts: ").split(", ")) == set(REPLACED)


def test_shell_scripts_are_in_the_shells_syntax(staged: Path, tmp_path: Path) -> None:
    for name, text in scripts().items():
        (tmp_path / name).write_text(text)
        subprocess.run(["sh", "-n", str(tmp_path / name)], check=True, timeout=10)
    guests = staged / "usr/lib/virtvisor/libexec/libvirt-guests"
    subprocess.run(["sh", "-n", str(guests)], check=True, timeout=10)


def test_the_shells_complete_every_option_of_libvirtd_and_every_command(staged: Path) -> None:
    for shell, folder in (
        ("bash", "bash-completion/completions/"),
        ("zsh", "zsh/vendor-completions/_"),
    ):
        text = (staged / f"usr/share/{folder}libvirtd").read_text()
        usage = subprocess.run(
            [sys.executable, "-m", "supervisor.root.main", "--help"],
            capture_output=True,
            text=True,
            check=True,
            timeout=30,
        ).stdout
        missing = [word for word in re.findall(r"--[a-z-]+", usage) if word not in text]
        assert not missing, f"{shell}: {missing}"
    bash = staged / "usr/share/bash-completion/completions"
    for words, expected in (
        ("virtvisorctl ''", "status access takeover --root --help"),
        ("virtvisorctl status ''", "--json --help"),
        ("libvirtd --lis", "--listen"),
    ):
        command = words.partition(" ")[0]
        script = (
            f"source {bash}/{command}; COMP_WORDS=({words}); COMP_CWORD={words.count(' ')}; "
            f'_{command}; echo "${{COMPREPLY[*]}}"'
        )
        done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=10)
        assert done.stdout.strip() == expected
