"""libvirtd.conf and qemu.conf: what is read, and what is refused."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conf.errors import ConfError
from conf.settings import (
    DaemonConfig,
    QemuConfig,
    parse_daemon_config,
    parse_qemu_config,
    socket_modes,
)
from conf.settings_syntax import Value, parse, write

STRINGS = st.text(st.characters(exclude_characters="\"'\n\r", codec="utf-8"), max_size=20)
VALUES = st.one_of(
    st.integers(-(10**15), 10**15), STRINGS, st.lists(STRINGS, min_size=0, max_size=4)
)
KEYS = st.from_regex(r"[a-z_][a-z0-9_]{0,12}", fullmatch=True)


@given(st.dictionaries(KEYS, VALUES, max_size=6))
def test_what_is_written_is_read_again(settings: dict[str, Value]) -> None:
    result = parse(write(settings), "test")
    assert {key: value for key, (value, _) in result.items()} == settings


@given(st.binary(max_size=200))
def test_hostile_bytes_are_settings_or_one_refusal(data: bytes) -> None:
    with contextlib.suppress(ConfError):  # any other exception fails the test
        parse(data, "test")


def test_comments_lists_and_both_quotes_are_read() -> None:
    text = """
    # a comment
    unix_sock_group = 'kvm'   # another
    max_clients=7
    access_drivers = [
        "one",  # inside
        'two',
    ]
    """
    config = parse_daemon_config(text, "libvirtd.conf")
    assert config.unix_sock_group == "kvm"
    assert config.max_clients == 7
    assert config.access_drivers == ["one", "two"]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("max_clients", "libvirtd.conf:1: expecting an assignment"),
        ("\nmax_clients = many", "libvirtd.conf:2: expecting a value"),
        ("no_such_key = 1", "libvirtd.conf:1: there is no setting 'no_such_key'"),
        ("max_clients = 'five'", "max_clients takes a number"),
        ("max_clients = 0", "max_clients must be 1 or more"),
        ("listen_tls = 2", "listen_tls takes 0 or 1"),
        ('unix_sock_rw_perms = "rwx"', "unix_sock_rw_perms is a mode"),
        ('auth_unix_rw = "maybe"', "auth_unix_rw"),
        ("max_clients = 1 2", "the end of the line"),
    ],
)
def test_a_mistake_is_named_with_its_place(text: str, complaint: str) -> None:
    with pytest.raises(ConfError, match=complaint):
        parse_daemon_config(text, "libvirtd.conf")


def test_port_ranges_are_checked() -> None:
    with pytest.raises(ConfError, match="remote_display_port_min"):
        parse_qemu_config(
            "remote_display_port_min = 6000\nremote_display_port_max = 5900", "qemu.conf"
        )
    assert parse_qemu_config("", "qemu.conf") == QemuConfig()


@pytest.mark.parametrize(
    ("config", "modes"),
    [
        (DaemonConfig(), (0o700, 0o777, 0o700)),
        (DaemonConfig(unix_sock_group="kvm"), (0o770, 0o777, 0o700)),
        (DaemonConfig(auth_unix_rw="polkit"), (0o777, 0o777, 0o700)),
        (DaemonConfig(unix_sock_rw_perms="0760"), (0o760, 0o777, 0o700)),
        (DaemonConfig(unix_sock_admin_perms="0750"), (0o700, 0o777, 0o750)),
    ],
)
def test_the_sockets_modes_follow_from_who_may_come_in(
    config: DaemonConfig, modes: tuple[int, int, int]
) -> None:
    assert socket_modes(config) == modes


def test_polkit_is_the_default_where_the_caller_found_its_policy() -> None:
    assert parse_daemon_config("", "f").auth_unix_rw == "none"
    assert parse_daemon_config("", "f", auth_unix_rw="polkit").auth_unix_rw == "polkit"
    said = parse_daemon_config('auth_unix_rw = "none"', "f", auth_unix_rw="polkit")
    assert said.auth_unix_rw == "none"


def test_namespaces_are_unsaid_none_or_the_mount_namespace() -> None:
    assert parse_qemu_config("", "f").namespaces is None
    assert parse_qemu_config("namespaces = []", "f").namespaces == []
    assert parse_qemu_config('namespaces = [ "mount" ]', "f").namespaces == ["mount"]
    with pytest.raises(ConfError, match="f: Unknown namespace: net"):
        parse_qemu_config('namespaces = [ "net" ]', "f")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("dynamic_users_min = 0", "must be a range of users"),
        ("dynamic_users_min = 2000000000", "must be a range of users"),
        ("dynamic_users_max = 3000000000", "must be a range of users"),
        ("dynamic_users = 1\ndynamic_ownership = 0", "dynamic_users needs dynamic_ownership"),
    ],
)
def test_users_of_guests_are_a_range_and_own_their_files(text: str, complaint: str) -> None:
    with pytest.raises(ConfError, match=complaint):
        parse_qemu_config(text, "f")
