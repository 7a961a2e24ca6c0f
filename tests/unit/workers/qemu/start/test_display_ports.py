"""Ports of VNC and SPICE: which a definition keeps, and which a start chooses or refuses."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from conf.domain import Domain, format_domain, parse_domain
from conf.domain.devices.graphics_defaults import complete_graphics
from conf.emulator import EmulatorFacts
from conf.errors import ConfError
from conf.settings import QemuConfig
from supervisor.workers.qemu.argv.display import displays
from supervisor.workers.qemu.argv.launch_inputs import Context, LaunchInputs
from supervisor.workers.qemu.start.live_xml import fill_graphics

OUT_OF_RANGE = r"vnc port must be in range \[5900,65535\]"
NO_TLS = "Auto allocation of spice TLS port requested but spice TLS is disabled in qemu.conf"
SECURE_CHANNEL = "<channel name='main' mode='secure'/>"


class Ports:
    """Gives the first port of a range, then the next."""

    def __init__(self) -> None:
        self.taken = 0

    def reserve(self, candidates: Sequence[int], _: str) -> int:
        self.taken += 1
        return candidates[self.taken - 1]


def domain(graphics: str) -> Domain:
    parsed = parse_domain(
        "<domain type='qemu'><name>d</name><memory>1024</memory>"
        f"<os><type arch='x86_64' machine='pc'>hvm</type></os><devices>{graphics}</devices>"
        "</domain>"
    )
    for item in parsed.devices.graphics:
        complete_graphics(item)
    return parsed


def written(parsed: Domain, *, live: bool) -> str:
    """The attributes of ports in the XML."""
    lines = format_domain(parsed, live=live).splitlines()
    line = next(line for line in lines if "<graphics" in line).strip(" </>")
    return " ".join(part for part in line.split() if "ort=" in part).replace("'", "")


def start(parsed: Domain, facts: EmulatorFacts, *, spice_tls: bool = False) -> str:
    """Fill in what a start chooses; the display's option."""
    fill_graphics(parsed, QemuConfig(spice_tls=spice_tls), Path("/guest"), Ports().reserve)
    inputs = LaunchInputs(id=1, domain_dir="/guest", channel_dir="/channel", memory_dir="/memory")
    options = displays(Context(parsed, facts, inputs))
    return next(value for option, value in options if option in ("-vnc", "-spice"))


@pytest.mark.parametrize(
    ("attributes", "inactive", "live"),
    [
        ("type='vnc'", "port=-1 autoport=yes", "port=5900 autoport=yes"),
        ("type='vnc' port='-1'", "port=-1 autoport=yes", "port=5900 autoport=yes"),
        ("type='vnc' port='5950' autoport='yes'", "port=-1 autoport=yes", "port=5900 autoport=yes"),
        ("type='vnc' port='5950'", "port=5950 autoport=no", "port=5950 autoport=no"),
        ("type='vnc' autoport='perhaps'", "port=-1 autoport=yes", "port=5900 autoport=yes"),
        ("type='vnc' port='5950' socket='/s'", "", ""),
        ("type='spice'", "", ""),
        ("type='spice' autoport='no'", "", ""),
        ("type='spice' autoport='yes'", "autoport=yes", "port=5900 autoport=yes"),
        ("type='spice' port='5950'", "port=5950 autoport=no", "port=5950 autoport=no"),
        ("type='spice' port='-1'", "port=-1 autoport=no", "port=5900 autoport=no"),
        ("type='spice' port='-1' tlsPort='-1'", "autoport=yes", "port=5900 autoport=yes"),
        ("type='spice' port='0'", "", ""),
    ],
)  # fmt: skip
def test_a_definition_keeps_the_ports_it_names_and_a_start_chooses_the_others(
    attributes: str, inactive: str, live: str, emulator_facts: EmulatorFacts
) -> None:
    parsed = domain(f"<graphics {attributes}/>")
    assert written(parsed, live=False) == inactive
    start(parsed, emulator_facts)
    assert written(parsed, live=True) == live
    if "autoport=yes" in inactive:  # libvirt gives back no other port than those
        assert written(parse_domain(format_domain(parsed, live=True)), live=False) == inactive


@pytest.mark.parametrize(
    "attributes",
    ["autoport='no'", "port='0'", "port='-1' autoport='no'", "port='5899'", "port='65536'"],
)
def test_vnc_without_a_port_of_its_range_is_refused_at_start(
    attributes: str, emulator_facts: EmulatorFacts
) -> None:
    with pytest.raises(ConfError, match=OUT_OF_RANGE):
        start(domain(f"<graphics type='vnc' {attributes}/>"), emulator_facts)


@pytest.mark.parametrize(
    ("attributes", "channel"),
    [("tlsPort='-1'", ""), ("autoport='yes' defaultMode='secure'", ""),
     ("autoport='yes'", SECURE_CHANNEL)],
)  # fmt: skip
def test_spice_that_needs_a_tls_port_is_refused_at_start_where_tls_is_off(
    attributes: str, channel: str, emulator_facts: EmulatorFacts
) -> None:
    xml = f"<graphics type='spice' {attributes}>{channel}</graphics>"
    with pytest.raises(ConfError, match=NO_TLS):
        start(domain(xml), emulator_facts)
    assert "tls-port=590" in start(domain(xml), emulator_facts, spice_tls=True)


def test_a_channel_for_a_port_that_is_not_open_is_refused(emulator_facts: EmulatorFacts) -> None:
    xml = f"<graphics type='spice' port='5950'>{SECURE_CHANNEL}</graphics>"
    with pytest.raises(ConfError, match="secure channels set in XML configuration, but TLS conn"):
        start(domain(xml), emulator_facts)


def test_two_displays_of_a_type_are_refused(emulator_facts: EmulatorFacts) -> None:
    with pytest.raises(ConfError, match="only 1 graphics device of each type"):
        start(domain("<graphics type='vnc'/><graphics type='vnc'/>"), emulator_facts)
