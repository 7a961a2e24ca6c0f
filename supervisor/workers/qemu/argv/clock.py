"""The guest's clock and timers: -rtc, kvm-pit; whether there is an HPET.

Owns: these options. The timers that are CPU features are in `cpu.py`.
May touch: values only.
"""

from __future__ import annotations

import time
from typing import Final

from conf.errors import ConfError
from supervisor.workers.qemu.argv.launch_inputs import Context, Options

FIRST_DATE: Final = -30610224000  # the years 1000 to 9999, in seconds since the epoch
LAST_DATE: Final = 253402300799
#: <timer track=>, and the clock of -rtc that it is.
TRACKS: Final = {"guest": "vm", "boot": "vm", "wall": "host", "realtime": "rt"}


def real_time_clock(context: Context) -> Options:
    """Build -rtc, and the timers that are options of their own."""
    parts = [f"base={_base(context)}"]
    clock = context.domain.clock
    timers = {timer.name: timer for timer in (clock.timers if clock else ())}
    rtc = timers.get("rtc")
    if rtc is not None:
        if rtc.track is not None:
            parts.append(f"clock={TRACKS[rtc.track]}")
        if rtc.tickpolicy == "catchup":
            parts.append("driftfix=slew")
    yield "-rtc", ",".join(parts)
    pit = timers.get("pit")
    if pit is not None and pit.tickpolicy in ("delay", "discard"):
        yield "-global", f"kvm-pit.lost_tick_policy={pit.tickpolicy}"


def disables_hpet(context: Context) -> bool:
    """Check whether the machine is to have no HPET."""
    clock = context.domain.clock
    timers = clock.timers if clock else ()
    return any(timer.name == "hpet" and timer.present is False for timer in timers)


def _base(context: Context) -> str:
    """Return the time that the guest's clock shows at start."""
    clock = context.domain.clock
    if clock is None:
        return "utc"
    if clock.offset in ("utc", "localtime"):
        return clock.offset
    if clock.offset == "timezone":
        return "localtime"
    if clock.offset == "absolute":
        return _date(float(clock.start or 0))
    moment = context.inputs.now + _seconds(clock.adjustment)
    if clock.basis == "localtime":
        moment += time.localtime(context.inputs.now).tm_gmtoff
    return _date(moment)


def _date(moment: float) -> str:
    """Write a time, in seconds since the epoch, as QEMU reads it.

    Raises:
        ConfError: "internal": it has no date of four digits.
    """
    if not FIRST_DATE <= moment <= LAST_DATE:
        detail = f"the guest's clock cannot begin {moment:.0f} s after 1970: change <clock>"
        raise ConfError("internal", detail, "domain/clock")
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(moment))


def _seconds(adjustment: str | None) -> int:
    """Return the adjustment in seconds; "reset" is 0, as at the first start."""
    return int(adjustment) if adjustment and adjustment != "reset" else 0
