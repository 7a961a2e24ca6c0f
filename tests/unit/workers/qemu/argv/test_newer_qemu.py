"""Options that newer releases of QEMU have removed or renamed, by what the emulator reports."""

from __future__ import annotations

import msgspec
import pytest

from conf.domain import format_domain, parse_domain
from conf.domain.defaults import complete
from conf.emulator import EmulatorFacts
from supervisor.workers.qemu.aliases import assign_aliases
from supervisor.workers.qemu.argv.launch import plan_launch
from tests.unit.workers.qemu.argv.argv_plan import runtime

SERIAL = (
    "<serial type='unix'><source mode='connect' path='/a'><reconnect enabled='yes' timeout='3'/>"
    "</source></serial>"
)


def argv(facts: EmulatorFacts) -> str:
    """The command line of a guest without ACPI and HPET, and with a reconnecting serial port."""
    domain = parse_domain(
        "<domain type='qemu'><name>a</name><memory>65536</memory>"
        "<os><type arch='x86_64' machine='pc'>hvm</type><bios useserial='yes'/></os>"
        "<clock><timer name='hpet' present='no'/></clock>"
        f"<devices><emulator>/usr/bin/qemu-system-x86_64</emulator>{SERIAL}</devices></domain>"
    )
    complete(domain, facts)
    assign_aliases(domain)
    return " ".join(plan_launch(domain, facts, runtime(domain)).argv)


def test_hpet_and_acpi_are_switched_off_by_properties_of_the_machine(
    emulator_facts: EmulatorFacts,
) -> None:
    line = argv(emulator_facts)
    assert ",hpet=off,acpi=off" in line
    assert "-no-hpet" not in line
    assert "-no-acpi" not in line


def test_reconnect_and_the_serial_bios_follow_the_probe(emulator_facts: EmulatorFacts) -> None:
    newer = msgspec.structs.replace(
        emulator_facts,
        options=emulator_facts.options | {"chardev": frozenset({"reconnect", "reconnect-ms"})},
        devices=emulator_facts.devices - {"sga"},
    )
    older = msgspec.structs.replace(
        emulator_facts,
        options=emulator_facts.options | {"chardev": frozenset({"reconnect"})},
        devices=emulator_facts.devices | {"sga"},
    )
    assert "reconnect-ms=3000" in argv(newer)
    assert "graphics=off" in argv(newer)
    assert "reconnect=3" in argv(older)
    assert '"driver":"sga"' in argv(older)


@pytest.mark.parametrize(
    ("behavior", "expected"),
    [
        ("omit", '{"deprecated-output":"hide"}'),
        ("reject", '{"deprecated-output":"hide","deprecated-input":"reject"}'),
        ("crash", '{"deprecated-output":"hide","deprecated-input":"crash"}'),
        ("none", None),
        ("perhaps", None),  # libvirt ignores it, and keeps it in the document
    ],
)
def test_deprecated_options_are_treated_as_the_domain_says(
    behavior: str, expected: str | None, emulator_facts: EmulatorFacts
) -> None:
    domain = parse_domain(
        "<domain type='qemu' xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'>"
        "<name>a</name><memory>65536</memory><os><type arch='x86_64' machine='pc'>hvm</type></os>"
        f"<devices/><qemu:deprecation behavior='{behavior}'/></domain>"
    )
    complete(domain, emulator_facts)
    assign_aliases(domain)
    words = plan_launch(domain, emulator_facts, runtime(domain)).argv
    given = words[words.index("-compat") + 1] if "-compat" in words else None
    assert given == expected
    assert f"<qemu:deprecation behavior='{behavior}'/>" in format_domain(domain)
