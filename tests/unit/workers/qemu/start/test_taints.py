"""What taints a guest from its start on, as measured on a stock libvirtd 9.0."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from conf.domain import parse_domain
from conf.emulator import EmulatorFacts
from supervisor.objects.taints import TEXTS, Taint, deprecation_messages, taint_messages
from supervisor.workers.qemu.start.taints import deprecations_of, taints_of
from tests.unit.workers.qemu.worker_under_test import tree_of

QEMU_NAMESPACE = "xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'"
XML = (
    f"<domain type='qemu' {QEMU_NAMESPACE}><name>x</name><memory>1024</memory>"
    "<os><type arch='x86_64' machine='pc'>hvm</type>{os}</os>{top}"
    "<devices>{devices}</devices></domain>"
)
CDROM = "<disk type='block' device='cdrom'>{}<target dev='hda' bus='ide'/><readonly/></disk>"
CASES = {
    "": [],
    "<qemu:commandline><qemu:arg value='-s'/></qemu:commandline>": [Taint.CUSTOM_ARGV],
    "<qemu:commandline><qemu:env name='A' value='b'/></qemu:commandline>": [Taint.CUSTOM_ARGV],
    "<qemu:capabilities><qemu:del capability='x'/></qemu:capabilities>": [
        Taint.CUSTOM_HYPERVISOR_FEATURE
    ],
    "<qemu:override><qemu:device alias='a'/></qemu:override>": [Taint.CUSTOM_DEVICE],
    "<cpu mode='host-passthrough'/>": [Taint.HOST_CPU],
    "<cpu mode='maximum'/>": [],
}


@pytest.mark.parametrize("top", CASES)
def test_what_is_beside_the_devices(top: str) -> None:
    domain = parse_domain(XML.format(os="", top=top, devices=""))
    assert taints_of(domain, is_deprecated=False, as_root=False) == CASES[top]


@pytest.mark.parametrize(
    ("devices", "expected"),
    [
        (CDROM.format("<source dev='/dev/sr0'/>"), [Taint.CDROM_PASSTHROUGH]),
        (CDROM.format(""), []),
        ("<interface type='ethernet'><script path='/x'/></interface>", [Taint.SHELL_SCRIPTS]),
        ("<interface type='user'/>", []),
    ],
)
def test_devices(devices: str, expected: list[Taint]) -> None:
    domain = parse_domain(XML.format(os="", top="", devices=devices))
    assert taints_of(domain, is_deprecated=False, as_root=False) == expected


def test_taints_stand_in_the_order_of_libvirt() -> None:
    domain = parse_domain(
        XML.format(os="<dtb>/x</dtb>", top="<cpu mode='host-passthrough'/>", devices="")
    )
    found = taints_of(domain, is_deprecated=True, as_root=True)
    assert found == [
        Taint.HIGH_PRIVILEGES, Taint.HOST_CPU, Taint.CUSTOM_DTB, Taint.DEPRECATED_CONFIG,
    ]  # fmt: skip
    assert list(TEXTS) == list(Taint)
    assert next(taint_messages(found[::-1])).startswith("tainted: running with undesirable")


def test_deprecated_machines_are_named_in_full(emulator_facts: EmulatorFacts) -> None:
    domain = parse_domain(XML.format(os="", top="", devices=""))
    assert deprecations_of(domain, emulator_facts) == []
    machines = tuple(
        msgspec.structs.replace(each, deprecated=True) for each in emulator_facts.machines
    )
    facts = msgspec.structs.replace(emulator_facts, machines=machines)
    (setting,) = deprecations_of(domain, facts)
    name = emulator_facts.canonical_machine("pc")
    assert list(deprecation_messages([setting])) == [
        f"deprecated configuration: machine type '{name}'"
    ]


async def test_a_client_of_the_monitor_taints_the_guest_once(
    tmp_path: Path, emulator_facts: EmulatorFacts
) -> None:
    async with tree_of(tmp_path, emulator_facts) as tree:
        started = await tree.start()
        assert started.taints == [Taint.HIGH_PRIVILEGES]  # the tests' QEMU is root's
        for _ in range(2):
            await tree.call("domain_monitor_command", '{"execute": "query-status"}', 0)
        guest = (await tree.status()).guest
        assert guest is not None
        assert guest.taints == [Taint.HIGH_PRIVILEGES, Taint.CUSTOM_MONITOR]
