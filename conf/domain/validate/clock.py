"""Checks of the timers of a completed QEMU domain.

Owns: these checks. Pure: a domain is read, never changed.
Source: libvirt 9.0 virDomainDefClockValidate, qemuValidateDomainDefClockTimers; measured.
"""

from __future__ import annotations

from typing import Final

from conf.domain.architectures import X86
from conf.domain.clock import Timer
from conf.domain.model import Domain
from conf.domain.os import OsType
from conf.errors import ConfError

UNSUPPORTED: Final = "config_unsupported"
PATH: Final = "domain/clock/timer"
ARM: Final = ("aarch64", "armv6l", "armv7l")
X86_TIMERS: Final = ("tsc", "kvmclock", "hypervclock", "hpet")
#: Attributes that only some timers have.
ONLY: Final = {
    "frequency": ("tsc",), "mode": ("tsc",), "track": ("platform", "rtc"),
}  # fmt: skip
#: Timers that hypervisors offer: a late tick of theirs cannot be.
PARAVIRTUAL: Final = ("kvmclock", "hypervclock")


def check_timers(domain: Domain) -> None:
    """Check that each timer can do what is asked of it, and that the machine has it.

    Raises:
        ConfError: "config_unsupported"; "xml".
    """
    for timer in domain.clock.timers if domain.clock else []:
        _check_attributes(timer)
        _check_machine(timer, domain.type, domain.os.type)


def _check_attributes(timer: Timer) -> None:
    if timer.name in PARAVIRTUAL and timer.tickpolicy is not None:
        detail = f"timer {timer.name} doesn't support setting of timer tickpolicy"
        raise ConfError(UNSUPPORTED, detail, f"{PATH}/@tickpolicy")
    catchup = timer.catchup
    given = catchup is not None and any((catchup.threshold, catchup.slew, catchup.limit))
    if given and timer.tickpolicy != "catchup":
        detail = "setting of timer catchup policies is only supported with tickpolicy='catchup'"
        raise ConfError("xml", detail, f"{PATH}/catchup")
    for name, timers in ONLY.items():
        if getattr(timer, name) and timer.name not in timers:
            detail = f"timer {timer.name} doesn't support setting of timer {name}"
            raise ConfError(UNSUPPORTED, detail, f"{PATH}/@{name}")


def _check_machine(timer: Timer, type_: str, kind: OsType) -> None:
    if timer.name == "platform":
        detail = f"unsupported timer type (name) '{timer.name}'"
        raise ConfError(UNSUPPORTED, detail, PATH)
    foreign = timer.name in X86_TIMERS and kind.arch not in X86
    if foreign or (timer.name == "armvtimer" and kind.arch not in ARM):
        detail = (
            f"Configuring the '{timer.name}' timer is not supported for "
            f"virtType={type_} arch={kind.arch} machine={kind.machine} guests"
        )
        raise ConfError(UNSUPPORTED, detail, PATH)
    if timer.name == "rtc" and timer.tickpolicy in ("merge", "discard"):
        detail = f"unsupported rtc timer tickpolicy '{timer.tickpolicy}'"
        raise ConfError(UNSUPPORTED, detail, f"{PATH}/@tickpolicy")
    if timer.name == "pit" and timer.tickpolicy in ("merge",):
        detail = f"unsupported pit timer tickpolicy '{timer.tickpolicy}'"
        raise ConfError(UNSUPPORTED, detail, f"{PATH}/@tickpolicy")
