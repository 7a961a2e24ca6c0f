"""Where everything lies."""

from __future__ import annotations

from pathlib import Path

from supervisor.runtime.paths import Paths


def test_the_system_daemon_uses_libvirts_places() -> None:
    paths = Paths.system()
    assert paths.config_file() == Path("/etc/libvirt/libvirtd.conf")
    assert paths.domain_config("demo") == Path("/etc/libvirt/qemu/demo.xml")
    assert paths.socket() == Path("/run/libvirt/libvirt-sock")
    assert paths.status("demo") == Path("/run/libvirt/qemu/demo.xml")
    assert paths.pid_file("demo") == Path("/run/libvirt/qemu/demo.pid")
    assert paths.domain_dir(3, "x" * 40) == Path("/var/lib/libvirt/qemu/domain-3-" + "x" * 20)
    assert paths.guest_log("demo") == Path("/var/log/libvirt/qemu/demo.log")
    assert paths.capabilities() == Path("/var/cache/libvirt/qemu/capabilities")
    assert paths.daemon_pid_file() == Path("/run/libvirtd.pid")


def test_another_root_moves_everything(tmp_path: Path) -> None:
    paths = Paths.system(tmp_path)
    for path in (paths.etc, paths.lib, paths.run, paths.cache, paths.log, paths.daemon_pid_file()):
        assert path.is_relative_to(tmp_path)


def test_a_session_uses_its_users_folders() -> None:
    paths = Paths.session({"HOME": "/home/ada", "XDG_RUNTIME_DIR": "/run/user/7"})
    assert paths.config_file() == Path("/home/ada/.config/libvirt/libvirtd.conf")
    assert paths.domain_config("demo") == Path("/home/ada/.config/libvirt/qemu/demo.xml")
    assert paths.socket() == Path("/run/user/7/libvirt/libvirt-sock")
    assert paths.status("demo") == Path("/run/user/7/libvirt/qemu/demo.xml")
    assert paths.guest_log("demo") == Path("/home/ada/.cache/libvirt/qemu/log/demo.log")
    assert paths.daemon_pid_file() == Path("/run/user/7/libvirt/libvirtd.pid")


def test_a_session_heeds_the_xdg_folders_and_does_without_a_runtime_one() -> None:
    paths = Paths.session({"HOME": "/h", "XDG_CONFIG_HOME": "/c", "XDG_CACHE_HOME": "/k"})
    assert paths.etc == Path("/c/libvirt")
    assert paths.run == Path("/k/libvirt")
