"""A QEMU's capabilities by libvirt's names."""

from __future__ import annotations

import re

import msgspec

from conf.emulator import EmulatorFacts
from supervisor.workers.qemu.start.libvirt_capabilities import (
    ALWAYS,
    BACKENDS,
    DEVICES,
    OPTIONS,
    SAME_COMMAND,
    SAME_DEVICE,
    SAME_OBJECT,
    TPM,
    X86,
    capability_flags,
)


def test_flags_follow_from_what_the_emulator_has(emulator_facts: EmulatorFacts) -> None:
    flags = set(capability_flags(emulator_facts))
    assert {"virtio-scsi-pci", "set-action", "iothread", "device.json+hotplug", "vnc"} <= flags
    fewer = msgspec.structs.replace(
        emulator_facts,
        devices=emulator_facts.devices - {"virtio-scsi-pci"},
        commands=emulator_facts.commands - {"set-action"},
        options={},
    )
    assert {"virtio-scsi-pci", "set-action", "vnc"} & set(capability_flags(fewer)) == set()


def test_an_emulator_older_than_the_tables_has_none(emulator_facts: EmulatorFacts) -> None:
    old = msgspec.structs.replace(emulator_facts, version=(6, 2, 0))
    assert capability_flags(old) == []


def test_every_flag_is_one_plain_name() -> None:
    texts = [*ALWAYS, *X86, *SAME_DEVICE, *SAME_OBJECT, *SAME_COMMAND, *DEVICES.values()]
    texts += [*OPTIONS.values(), *TPM.values()]
    texts += [flags for backends in BACKENDS.values() for flags in backends.values()]
    for flag in " ".join(texts).split():
        assert re.fullmatch(r"[A-Za-z0-9_.+-]+", flag)
