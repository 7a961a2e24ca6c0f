"""Warnings about settings without effect."""

from __future__ import annotations

import pytest

from conf.errors import ConfError
from conf.settings import DaemonConfig, QemuConfig, parse_daemon_config, parse_qemu_config
from conf.settings_support import (
    UNSUPPORTED_DAEMON_SETTINGS,
    UNSUPPORTED_QEMU_SETTINGS,
    check_security_settings,
    check_session_settings,
    unsupported_settings,
)


def test_every_name_in_the_lists_is_a_setting() -> None:
    assert set(DaemonConfig.__struct_fields__) >= UNSUPPORTED_DAEMON_SETTINGS
    assert set(QemuConfig.__struct_fields__) >= UNSUPPORTED_QEMU_SETTINGS


def test_only_what_was_changed_is_told() -> None:
    assert unsupported_settings(DaemonConfig()) == []
    assert unsupported_settings(
        parse_daemon_config(b"max_workers = 1\nmax_clients = 7\n", "f")
    ) == ["max_workers"]
    assert unsupported_settings(parse_qemu_config(b'mac_filter = 1\nuser = "x"\n', "f")) == [
        "mac_filter"
    ]


@pytest.mark.parametrize("text", [b"security_require_confined = 1", b'security_driver = "selinux"'])
def test_a_guests_confinement_is_not_left_out_silently(text: bytes) -> None:
    with pytest.raises(ConfError, match=r"f: security_\w+ asks for protection"):
        check_security_settings(parse_qemu_config(text, "f"), "f")


@pytest.mark.parametrize("manager", ["sanlock", "bogus"])
def test_locks_of_images_are_not_left_out_silently(manager: str) -> None:
    config = parse_qemu_config(f'lock_manager = "{manager}"', "f")
    with pytest.raises(ConfError, match=r'lock_manager asks for protection .* set it to "lockd"'):
        check_security_settings(config, "f")
    for other in ("nop", "lockd"):
        check_security_settings(parse_qemu_config(f'lock_manager = "{other}"', "f"), "f")


def test_access_rules_are_not_left_out_silently() -> None:
    with pytest.raises(ConfError, match="access_drivers"):
        check_security_settings(parse_daemon_config(b'access_drivers = [ "selinux" ]', "f"), "f")
    check_security_settings(parse_daemon_config(b'access_drivers = [ "polkit" ]', "f"), "f")
    check_security_settings(parse_daemon_config(b"access_drivers = []", "f"), "f")
    check_security_settings(parse_qemu_config(b'security_driver = [ "dac", "none" ]', "f"), "f")


@pytest.mark.parametrize("text", [b'namespaces = [ "mount" ]', b"dynamic_users = 1"])
def test_what_only_roots_daemon_can_do_is_refused_in_session_mode(text: bytes) -> None:
    with pytest.raises(ConfError, match=r"f: (cannot enable namespace mount in|dynamic_users)"):
        check_session_settings(parse_qemu_config(text, "f"), "f")
    check_session_settings(parse_qemu_config(b"namespaces = []", "f"), "f")
