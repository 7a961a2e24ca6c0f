"""<cpu>: what a document may say of its model, and what completion makes of it."""

from __future__ import annotations

import pytest

from conf.domain import parse_domain
from conf.domain.cpu_defaults import complete_cpu
from conf.domain.cpu_document import format_cpu
from conf.emulator import EmulatorFacts
from conf.errors import ConfError


def domain(cpu: str) -> str:
    return (
        "<domain type='qemu'><name>d</name><memory>1</memory>"
        f"<os><type arch='x86_64' machine='pc'>hvm</type></os>{cpu}</domain>"
    )


@pytest.mark.parametrize(
    ("cpu", "message"),
    [
        ("<cpu><vendor>Intel</vendor></cpu>", "CPU vendor specified without CPU model"),
        (
            "<cpu mode='host-model'><vendor>Intel</vendor></cpu>",
            "CPU vendor specified without CPU model",
        ),
        ("<cpu><model vendor_id='abc'>a</model></cpu>", "exactly 12 characters long"),
        ("<cpu><model vendor_id='abcdefghijk,'>a</model></cpu>", "vendor id is invalid"),
    ],
)
def test_a_vendor_is_a_models_and_its_id_is_what_cpuid_can_say(cpu: str, message: str) -> None:
    with pytest.raises(ConfError, match=message) as refusal:
        parse_domain(domain(cpu))
    assert refusal.value.kind == "xml"


@pytest.mark.parametrize(
    ("cpu", "completed"),
    [
        (
            "<cpu mode='host-model'><model fallback='forbid' vendor_id='abcdefghijkl'/></cpu>",
            "<cpu mode='host-model' check='partial'><model vendor_id='abcdefghijkl'/></cpu>",
        ),
        (
            "<cpu mode='host-model' match='exact'><model>a</model><vendor>Intel</vendor></cpu>",
            "<cpu mode='host-model' check='partial'><model fallback='allow'>a</model>"
            "<vendor>Intel</vendor></cpu>",
        ),
        (
            "<cpu mode='maximum'><model>a</model><vendor>Intel</vendor></cpu>",
            "<cpu mode='maximum' check='none'/>",
        ),
        (
            "<cpu><model vendor_id='abcdefghijkl'/></cpu>",
            "<cpu mode='custom' match='exact' check='none'>"
            "<model fallback='forbid' vendor_id='abcdefghijkl'>qemu64</model></cpu>",
        ),
        (
            "<cpu><model vendor_id=''>a</model></cpu>",
            "<cpu mode='custom' match='exact' check='none'><model fallback='allow'>a</model></cpu>",
        ),
    ],
)
def test_what_has_no_meaning_in_a_mode_is_left_out(
    cpu: str, completed: str, emulator_facts: EmulatorFacts
) -> None:
    parsed = parse_domain(domain(cpu))
    complete_cpu(parsed, emulator_facts)
    assert parsed.cpu is not None
    assert "".join(line.strip() for line in format_cpu(parsed.cpu).splitlines()) == completed
