"""Memory modules of a definition: their slots, sizes, and what each model has."""

from __future__ import annotations

import pytest

from conf.domain import Domain, format_domain, parse_domain
from conf.domain.addresses import memory_slots
from conf.domain.devices.address import DimmAddress
from conf.domain.memory_modules import align_modules, check_module_change, check_new_module
from conf.errors import ConfError

DIMM = "<memory model='dimm'><target><size unit='KiB'>{}</size><node>0</node></target>{}</memory>"
VIRTIO_MEM = (
    "<memory model='virtio-mem'><target><size unit='KiB'>131073</size><node>0</node>"
    "<block unit='KiB'>2048</block><requested unit='KiB'>0</requested></target></memory>"
)


def guest(devices: str, slots: int = 4) -> Domain:
    return parse_domain(
        "<domain type='qemu'><name>web</name>"
        f"<maxMemory slots='{slots}' unit='KiB'>1048576</maxMemory><memory>262144</memory>"
        "<os><type arch='x86_64' machine='pc'>hvm</type></os>"
        "<cpu><numa><cell id='0' cpus='0' memory='262144' unit='KiB'/></numa></cpu>"
        f"<devices>{devices}</devices></domain>"
    )


def slot(number: int) -> str:
    return f"<address type='dimm' slot='{number}'/>"


def test_modules_get_the_lowest_free_slots() -> None:
    domain = guest(DIMM.format(1024, "") + DIMM.format(1024, slot(0)) + DIMM.format(1024, ""))
    memory_slots.assign(domain)
    addresses = [memory.address for memory in domain.devices.memories]
    assert addresses == [DimmAddress(slot=1), DimmAddress(slot=0), DimmAddress(slot=2)]


@pytest.mark.parametrize(
    ("devices", "words", "kind"),
    [
        (DIMM.format(1024, "") * 3, "failed to find an empty memory slot", "internal"),
        (DIMM.format(1024, slot(9)), "slot '9' exceeds slots count '2'", "config_unsupported"),
        (DIMM.format(1024, slot(1)) * 2, "slot '1' is already being used", "config_unsupported"),
    ],
)
def test_impossible_slots_are_refused(devices: str, words: str, kind: str) -> None:
    with pytest.raises(ConfError, match=words) as refused:
        memory_slots.assign(guest(devices, slots=2))
    assert refused.value.kind == kind


def test_a_start_rounds_sizes_up_and_the_total_follows() -> None:
    domain = guest(DIMM.format(100000, "") + VIRTIO_MEM)
    assert domain.boot_memory is not None
    domain.boot_memory.amount = 262144 + 100000 + 131073
    align_modules(domain)
    assert [memory.target.size for memory in domain.devices.memories] == [100352, 133120]
    assert domain.memory == 262144 + 100352 + 133120


def test_a_module_needs_room_and_its_cell() -> None:
    (module,) = guest(DIMM.format(1048576, "")).devices.memories
    with pytest.raises(ConfError, match="would exceed domain's maxMemory config size '1048576'"):
        check_new_module(guest(""), module)
    module.target.node = 3
    with pytest.raises(ConfError, match="the guest has only '1' NUMA nodes") as refused:
        check_new_module(guest(""), module)
    assert refused.value.kind == "xml_detail"


def test_only_the_requested_size_of_a_virtio_mem_changes() -> None:
    present, changed = guest(VIRTIO_MEM + VIRTIO_MEM.replace(">0<", ">2048<", 1)).devices.memories
    changed.target.node = present.target.node
    check_module_change(present, changed)
    changed.source_nodes = "0"
    with pytest.raises(ConfError, match="cannot modify memory source nodes"):
        check_module_change(present, changed)
    (module,) = guest(DIMM.format(1024, "")).devices.memories
    with pytest.raises(ConfError, match="model from 'virtio-mem' to 'dimm'"):
        check_module_change(present, module)
    with pytest.raises(ConfError, match="cannot modify memory of model 'dimm'"):
        check_module_change(module, module)


def test_a_model_keeps_what_it_has() -> None:
    devices = DIMM.format(1024, "").replace(
        "<target>", "<source><path>/x</path><nodemask>0</nodemask></source><target>"
    )
    text = format_domain(guest(devices.replace("<node>", "<block>4</block><node>")))
    assert "<nodemask>0</nodemask>" in text
    assert "<path>" not in text
    assert "<block" not in text
