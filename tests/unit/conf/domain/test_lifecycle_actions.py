"""The lifecycle actions that QEMU's driver refuses, as measured on a stock libvirtd 9.0."""

from __future__ import annotations

import pytest

from conf.domain import parse_domain
from conf.domain.validate.lifecycle import check_lifecycle_actions
from conf.errors import ConfError


def check(poweroff: str, reboot: str, crash: str) -> None:
    check_lifecycle_actions(
        parse_domain(
            "<domain type='qemu'><name>x</name><memory>1024</memory>"
            "<os><type arch='x86_64' machine='pc'>hvm</type></os>"
            f"<on_poweroff>{poweroff}</on_poweroff><on_reboot>{reboot}</on_reboot>"
            f"<on_crash>{crash}</on_crash></domain>"
        )
    )


@pytest.mark.parametrize(
    ("poweroff", "reboot", "crash", "message"),
    [
        ("preserve", "restart", "destroy", "'preserve' action"),
        ("destroy", "preserve", "destroy", "'preserve' action"),
        ("rename-restart", "restart", "destroy", "'rename-restart' action"),
        ("destroy", "rename-restart", "destroy", "'rename-restart' action"),
        ("destroy", "restart", "rename-restart", "'rename-restart' action"),
        ("restart", "destroy", "destroy", "'onPoweroff' set to 'reboot'"),
    ],
)
def test_what_no_guest_can_do_is_refused(
    poweroff: str, reboot: str, crash: str, message: str
) -> None:
    with pytest.raises(ConfError, match=message) as refused:
        check(poweroff, reboot, crash)
    assert refused.value.kind == "config_unsupported"


def test_the_others_are_taken() -> None:
    check("restart", "restart", "preserve")
    check("destroy", "destroy", "coredump-restart")
