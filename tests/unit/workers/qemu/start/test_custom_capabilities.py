"""<qemu:capabilities> changes what a command line is planned from."""

from __future__ import annotations

import pytest

from conf.domain import Domain, parse_domain
from conf.domain.devices.controller import Controller
from conf.emulator import EmulatorFacts
from conf.errors import ConfError
from supervisor.workers.qemu.argv.controllers import controller_options
from supervisor.workers.qemu.argv.launch_inputs import Context, LaunchInputs
from supervisor.workers.qemu.start.capability_names import NAMES
from supervisor.workers.qemu.start.custom_capabilities import (
    apply_capabilities,
    changed_flags,
    fact_of,
)
from supervisor.workers.qemu.start.libvirt_capabilities import capability_flags


def domain(entries: str) -> Domain:
    """A domain with these capabilities."""
    return parse_domain(
        "<domain type='qemu' xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>"
        "<name>own</name><memory>1024</memory><os><type>hvm</type></os>"
        f"<qemu:capabilities>{entries}</qemu:capabilities></domain>"
    )


def test_a_removed_device_is_no_device_of_the_emulator(emulator_facts: EmulatorFacts) -> None:
    changed = apply_capabilities(domain("<qemu:del capability='piix3-usb-uhci'/>"), emulator_facts)
    assert emulator_facts.devices - changed.devices == {"piix3-usb-uhci"}


def test_what_is_added_and_removed_is_removed(emulator_facts: EmulatorFacts) -> None:
    both = "<qemu:add capability='vhost-scsi'/><qemu:del capability='vhost-scsi'/>"
    changed = apply_capabilities(domain(both), emulator_facts)
    assert "vhost-scsi-pci" not in changed.devices


def test_backends_and_options_are_changed_too(emulator_facts: EmulatorFacts) -> None:
    entries = "<qemu:del capability='seccomp-sandbox'/><qemu:add capability='netdev.stream'/>"
    changed = apply_capabilities(domain(entries), emulator_facts)
    assert "sandbox" not in changed.options
    assert changed.has_backend("netdev", "stream")


@pytest.mark.parametrize("name", ["bogus", "", "Blockdev", "machine.smm-opt"])
def test_an_unknown_capability_refuses_the_start(emulator_facts: EmulatorFacts, name: str) -> None:
    with pytest.raises(ConfError, match="invalid qemu namespace capability") as refused:
        apply_capabilities(domain(f"<qemu:add capability='{name}'/>"), emulator_facts)
    assert refused.value.kind == "internal"


def test_a_capability_that_nothing_is_planned_by_is_named(
    emulator_facts: EmulatorFacts, caplog: pytest.LogCaptureFixture
) -> None:
    changed = apply_capabilities(domain("<qemu:del capability='device.json'/>"), emulator_facts)
    assert changed is emulator_facts
    assert "'device.json'" in caplog.text


def test_the_status_file_has_the_changed_flags(emulator_facts: EmulatorFacts) -> None:
    flags = capability_flags(emulator_facts)
    entries = "<qemu:add capability='zpci'/><qemu:del capability='hda-duplex'/>"
    changed = changed_flags(domain(entries), flags)
    assert set(changed) ^ set(flags) == {"zpci", "hda-duplex"}


def test_every_flag_of_ours_has_one_of_libvirts_names(emulator_facts: EmulatorFacts) -> None:
    assert set(capability_flags(emulator_facts)) <= NAMES
    assert fact_of("hda-duplex") is not None


def test_a_controller_that_was_taken_away_is_refused(emulator_facts: EmulatorFacts) -> None:
    model = domain("<qemu:del capability='piix3-usb-uhci'/>")
    controller = Controller(type="usb", index=0, model="piix3-uhci", alias="usb")
    changed = apply_capabilities(model, emulator_facts)
    context = Context(
        model, changed, LaunchInputs(id=1, domain_dir="", channel_dir="", memory_dir="")
    )
    with pytest.raises(ConfError, match="'piix3-uhci' not supported in this QEMU binary"):
        list(controller_options(context, controller))
