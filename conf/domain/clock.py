"""<clock> and its timers; <pm>.

Source: libvirt 9.0 formatdomain, "Time keeping" and "Power Management".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from conf.errors import ConfError
from conf.mapper import attribute, child, children, element
from conf.types.bool import yes_no
from conf.types.enum import one_of
from conf.types.integer import c_integer, unsigned

LLONG_MAX: Final = 2**63 - 1
TIMERS = one_of("platform", "pit", "rtc", "hpet", "tsc", "kvmclock", "hypervclock", "armvtimer")
POLICIES = one_of("delay", "catchup", "merge", "discard")


@element("catchup", omit_empty=True)
@dataclass(slots=True, kw_only=True)
class Catchup:
    """How a late timer catches up."""

    threshold: int | None = attribute("@threshold", read=unsigned, omit=0)
    slew: int | None = attribute("@slew", read=unsigned, omit=0)
    limit: int | None = attribute("@limit", read=unsigned, omit=0)


@element("timer")
@dataclass(slots=True, kw_only=True)
class Timer:
    """<timer>."""

    name: str = attribute("@name", read=TIMERS, default="", required=True)
    present: bool | None = attribute("@present", read=yes_no)
    tickpolicy: str | None = attribute("@tickpolicy", read=POLICIES)
    track: str | None = attribute("@track", read=one_of("boot", "guest", "wall", "realtime"))
    frequency: int | None = attribute("@frequency", read=unsigned, omit=0)  # Hz
    mode: str | None = attribute(
        "@mode", read=one_of("auto", "native", "emulate", "paravirt", "smpsafe")
    )
    catchup: Catchup | None = child("catchup", Catchup)


@element("clock")
@dataclass(slots=True, kw_only=True)
class Clock:
    """<clock>: what the guest's clock begins with."""

    offset: str = attribute(
        "@offset",
        read=one_of(
            "utc",
            "localtime",
            "variable",
            "timezone",
            "absolute",
            unknown="unknown clock offset '{}'",
        ),
        default="utc",
        empty_is_absent=True,
    )
    adjustment: str | None = attribute("@adjustment")  # seconds, or "reset"
    basis: str | None = attribute(
        "@basis",
        read=one_of("utc", "localtime", unknown="unknown clock basis '{}'"),
        empty_is_absent=True,
    )
    timezone: str | None = attribute("@timezone")
    start: int | None = attribute("@start", read=unsigned)  # seconds since the epoch
    timers: list[Timer] = children("timer", Timer)

    def after_read(self) -> None:
        """Drop the attributes of other offsets.

        Raises:
            ConfError: "internal": there is no time zone; "xml": the adjustment is no number.
        """
        if self.offset == "timezone" and not self.timezone:
            detail = "missing 'timezone' attribute for clock with offset='timezone'"
            raise ConfError("internal", detail, "domain/clock/@timezone")
        if self.offset in ("utc", "localtime") and self.adjustment not in (None, "reset"):
            self.adjustment = str(read_adjustment(self.adjustment or ""))
            self.offset, self.basis = "variable", self.offset
        elif self.offset == "variable" and self.adjustment is not None:
            try:
                self.adjustment = str(read_adjustment(self.adjustment))
            except ConfError:
                self.adjustment = "0"  # libvirt does not look whether it was one
        if self.offset != "variable":
            self.basis = None
        if self.offset not in ("variable", "utc", "localtime"):
            self.adjustment = None
        if self.offset != "timezone":
            self.timezone = None
        if self.offset != "absolute":
            self.start = None


def read_adjustment(text: str) -> int:
    """Read the seconds between the guest's clock and its basis.

    Raises:
        ConfError: "xml": it is no number, or does not fit into 64 bits.
    """
    try:
        number = c_integer(text)
    except ValueError:
        number = LLONG_MAX + 1
    if not -LLONG_MAX <= number <= LLONG_MAX:
        raise ConfError("xml", f"unknown clock adjustment '{text}'", "domain/clock/@adjustment")
    return number


@element("pm", omit_empty=True)
@dataclass(slots=True, kw_only=True)
class Pm:
    """<pm>: which of ACPI's sleep states the guest may use."""

    suspend_to_mem: bool | None = attribute("suspend-to-mem/@enabled", read=yes_no, first=True)
    suspend_to_disk: bool | None = attribute("suspend-to-disk/@enabled", read=yes_no, first=True)
