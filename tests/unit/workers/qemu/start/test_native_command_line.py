"""The command line of a domain that is not started, as stock prints it."""

from __future__ import annotations

import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from conf.domain import Domain, parse_domain
from conf.domain.addresses.assign import assign_addresses
from conf.domain.defaults import complete
from conf.emulator import EmulatorFacts
from supervisor.workers.qemu.aliases import assign_aliases
from supervisor.workers.qemu.argv.launch import plan_launch
from supervisor.workers.qemu.argv.launch_inputs import Launch, LaunchInputs
from supervisor.workers.qemu.start.native_command_line import (
    make_interfaces_ethernet,
    quote,
    shell_line,
    spell_as_libvirt,
)

XML = """<domain type='qemu'><name>x</name><memory>65536</memory>
<os><type arch='x86_64' machine='pc'>hvm</type>{boot}</os>{clock}<devices>
<disk type='file' device='disk'><source file='/a'/><target dev='vda' bus='virtio'/></disk>
<interface type='network'><source network='default'/><mac address='52:54:00:00:00:01'/>
<model type='virtio'/><filterref filter='clean-traffic'/></interface>{devices}</devices></domain>"""
NO_HPET = "<clock offset='utc'><timer name='hpet' present='no'/></clock>"
RECONNECT = (
    "<channel type='unix'><source mode='connect' path='/a'><reconnect {}/></source>"
    "<target type='virtio' name='y'/></channel>"
)


def planned(facts: EmulatorFacts, *, boot: str = "", clock: str = "", devices: str = "") -> Launch:
    domain = parse_domain(XML.format(boot=boot, clock=clock, devices=devices))
    complete(domain, facts)
    make_interfaces_ethernet(domain)
    assign_addresses(domain, facts)
    assign_aliases(domain)
    return plan_launch(domain, facts, inputs(domain))


def inputs(domain: Domain) -> LaunchInputs:
    taps = {item.alias or "": (30,) for item in domain.devices.interfaces}
    return LaunchInputs(id=-1, domain_dir="/d", channel_dir="/c", memory_dir="/m", tap_fds=taps)


def test_options_that_qemu_9_has_lost_are_written_for_older_ones(
    emulator_facts: EmulatorFacts,
) -> None:
    launch = planned(emulator_facts, clock=NO_HPET)
    spelled = spell_as_libvirt(launch, replace(emulator_facts, version=(7, 2, 0))).argv
    at = spelled.index("-no-shutdown")
    assert spelled[at - 1 : at + 2] == ("-no-hpet", "-no-shutdown", "-no-acpi")
    assert not any("acpi=off" in word or "hpet=off" in word for word in spelled)
    assert spell_as_libvirt(launch, replace(emulator_facts, version=(9, 0, 0))) == launch


def test_an_interface_keeps_only_what_does_not_depend_on_networks(
    emulator_facts: EmulatorFacts,
) -> None:
    words = planned(emulator_facts).argv
    assert '{"type":"tap","fd":"30","id":"hostnet0"}' in words
    assert any("virtio-net-pci" in word and "52:54:00:00:00:01" in word for word in words)


def test_of_a_boot_device_that_is_named_twice_the_last_place_counts(
    emulator_facts: EmulatorFacts,
) -> None:
    boot = "<boot dev='hd'/><boot dev='network'/><boot dev='hd'/>"
    words = planned(emulator_facts, boot=boot).argv
    places = {
        driver: next(word for word in words if f'"driver":"{driver}"' in word)
        for driver in ("virtio-blk-pci", "virtio-net-pci")
    }
    assert '"bootindex":3' in places["virtio-blk-pci"]
    assert '"bootindex":2' in places["virtio-net-pci"]


@pytest.mark.parametrize(
    ("reconnect", "option"),
    [
        ("enabled='yes' timeout='3'", "=3"), ("enabled='no'", "=0"),
        ("timeout='3'", ""),
    ],
)  # fmt: skip
def test_a_reconnect_that_does_not_say_whether_is_left_to_qemu(
    reconnect: str, option: str, emulator_facts: EmulatorFacts
) -> None:
    words = planned(emulator_facts, devices=RECONNECT.format(reconnect)).argv
    (channel,) = [word for word in words if word.startswith("socket,id=charchannel0")]
    assert ("reconnect" in channel) == bool(option)
    # QEMU 9.2 counts in milliseconds, by another name.
    assert option in channel.replace("reconnect-ms=3000", "reconnect=3").replace("-ms=0", "=0")


@given(st.lists(st.text(st.characters(exclude_characters="\0"))))
def test_a_shell_reads_the_words_that_were_written(words: list[str]) -> None:
    launch = Launch(("qemu", *words), {"HOME": "/a b"}, ())
    assert shlex.split(shell_line(launch)) == ["HOME=/a b", "qemu", *words]


def test_plain_words_stay_plain() -> None:
    assert quote("socket,id=a,path=/b") == "socket,id=a,path=/b"
    assert quote("") == "''"
    assert quote("it's") == "'it'\\''s'"
