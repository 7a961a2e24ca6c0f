"""What an administrator is told of settings that nothing acts on."""

from __future__ import annotations

import pytest

from conf.errors import ConfError
from conf.settings import DaemonConfig, QemuConfig, daemon_config, qemu_config
from conf.settings_support import DAEMON, QEMU, refuse_unguarded, unused


def test_every_name_in_the_lists_is_a_setting() -> None:
    assert set(DaemonConfig.__struct_fields__) >= DAEMON
    assert set(QemuConfig.__struct_fields__) >= QEMU


def test_only_what_was_changed_is_told() -> None:
    assert unused(DaemonConfig()) == []
    assert unused(daemon_config(b"listen_tcp = 1\nmax_clients = 7\n", "f")) == ["listen_tcp"]
    assert unused(qemu_config(b'lock_manager = "sanlock"\nuser = "x"\n', "f")) == ["lock_manager"]


@pytest.mark.parametrize("text", [b"security_require_confined = 1", b'security_driver = "selinux"'])
def test_a_guests_confinement_is_not_left_out_silently(text: bytes) -> None:
    with pytest.raises(ConfError, match=r"f: security_\w+ asks for protection"):
        refuse_unguarded(qemu_config(text, "f"), "f")


def test_access_rules_are_not_left_out_silently() -> None:
    with pytest.raises(ConfError, match="access_drivers"):
        refuse_unguarded(daemon_config(b'access_drivers = [ "polkit" ]', "f"), "f")
    refuse_unguarded(daemon_config(b"access_drivers = []", "f"), "f")
    refuse_unguarded(qemu_config(b'security_driver = [ "dac", "none" ]', "f"), "f")
