"""Memory modules of a running guest, against a QEMU that does as a test says."""

from __future__ import annotations

from pathlib import Path

import pytest

from conf.domain import parse_domain
from conf.emulator import EmulatorFacts
from rpc.enums import DomainEventID
from rpc.errors import ErrorCode, VirError
from supervisor.messages.worker import AttachDevice, DetachDevice, DomainStatus, Start, UpdateDevice
from supervisor.workers.qemu.hotplug import unplug
from tests.unit.workers.qemu.worker_under_test import Script, WorkerTree, tree_of, until

REFUSAL = {"error": "GenericError"}
ROOM = (
    "<maxMemory slots='2' unit='KiB'>1048576</maxMemory><memory>131072</memory>",
    "<cpu><numa><cell id='0' cpus='0' memory='131072' unit='KiB'/></numa></cpu>",
)
DIMM = "<memory model='dimm'><target><size unit='KiB'>65536</size><node>0</node></target></memory>"
VIRTIO_MEM = (
    "<memory model='virtio-mem'><target><size unit='KiB'>131072</size><node>0</node>"
    "<block unit='KiB'>2048</block><requested unit='KiB'>{}</requested></target>{}</memory>"
)


def modules(*present: tuple[str, str, int]) -> Script:
    """QEMU's answer: of each module its type, id and size in bytes."""
    listed = [
        {"type": kind, "data": {"id": name, "addr": 1 << 32, "size": size}}
        for kind, name, size in present
    ]
    return {"query-memory-devices": [{"return": listed}]}


async def start(tree: WorkerTree) -> DomainStatus:
    xml = tree.xml().replace("<memory unit='KiB'>65536</memory>", ROOM[0])
    xml = xml.replace("<currentMemory unit='KiB'>65536</currentMemory>", "")
    return await tree.worker.call(Start(xml=xml.replace("<os>", f"{ROOM[1]}<os>"), id=1))


async def live_xml(tree: WorkerTree) -> str:
    guest = (await tree.status()).guest
    assert guest is not None
    return guest.live_xml


async def test_a_module_comes_and_goes_with_its_part_of_the_memory(
    tmp_path: Path, emulator_facts: EmulatorFacts
) -> None:
    async with tree_of(tmp_path, emulator_facts) as tree:
        await start(tree)
        tree.script(modules(("dimm", "dimm0", 64 << 20)))
        status = await tree.worker.call(AttachDevice(xml=DIMM))
        assert "<memory unit='KiB'>196608</memory>" in status.live_xml
        assert "<address type='dimm' slot='0' base='0x100000000'/>" in status.live_xml
        kinds = [event.event_id for event in tree.forwarded]
        assert kinds[-1] == DomainEventID.DEVICE_ADDED
        gone = {"event": "DEVICE_DELETED", "data": {"device": "dimm0", "path": "/x"}}
        tree.script({"device_del": [gone], **modules()})
        status = await tree.worker.call(DetachDevice(xml=DIMM))
        assert "<memory unit='KiB'>131072</memory>" in status.live_xml
        assert "<memory model=" not in status.live_xml
        assert "object-del" in tree.commands()


async def test_a_module_that_qemu_refuses_leaves_nothing(
    tmp_path: Path, emulator_facts: EmulatorFacts
) -> None:
    async with tree_of(tmp_path, emulator_facts) as tree:
        before = await start(tree)
        tree.script({"device_add": [REFUSAL]})
        with pytest.raises(VirError, match="fake refusal"):
            await tree.worker.call(AttachDevice(xml=DIMM))
        assert await live_xml(tree) == before.live_xml
        assert tree.commands()[-1] == "object-del"


async def test_there_is_no_room_for_more_than_the_document_says(
    tmp_path: Path, emulator_facts: EmulatorFacts
) -> None:
    async with tree_of(tmp_path, emulator_facts) as tree:
        await start(tree)
        for size, words in (
            ("1048576", "would exceed domain's maxMemory config size"),
            ("65536", "can't add memory backend for guest node '1'"),
        ):
            node = "1" if size == "65536" else "0"
            xml = DIMM.replace("65536", size).replace("<node>0", f"<node>{node}")
            with pytest.raises(VirError, match=words):
                await tree.worker.call(AttachDevice(xml=xml))
        for _ in range(2):
            await tree.worker.call(AttachDevice(xml=DIMM))
        with pytest.raises(VirError, match="memory device count '3' exceeds slots count '2'"):
            await tree.worker.call(AttachDevice(xml=DIMM))


async def test_a_guest_is_asked_for_part_of_a_virtio_mem_and_tells_what_it_takes(
    tmp_path: Path, emulator_facts: EmulatorFacts
) -> None:
    async with tree_of(tmp_path, emulator_facts) as tree:
        await start(tree)
        tree.script(modules(("virtio-mem", "virtiomem0", 0)))
        attached = await tree.worker.call(AttachDevice(xml=VIRTIO_MEM.format(65536, "")))
        assert "<current unit='KiB'>0</current>" in attached.live_xml
        alias = "<alias name='virtiomem0'/>"
        grown = {
            "event": "MEMORY_DEVICE_SIZE_CHANGE",
            "data": {"id": "virtiomem0", "size": 32 << 20, "qom-path": "/x"},
        }
        tree.script({"qom-set": [grown]})
        changed = await tree.worker.call(UpdateDevice(xml=VIRTIO_MEM.format(32768, alias)))
        assert "<requested unit='KiB'>32768</requested>" in changed.live_xml
        size_change = DomainEventID.MEMORY_DEVICE_SIZE_CHANGE
        await until(lambda: any(event.event_id == size_change for event in tree.forwarded))
        assert "<current unit='KiB'>32768</current>" in await live_xml(tree)
        for xml, words in (
            (VIRTIO_MEM.format(1, alias), "multiple of block size"),
            (VIRTIO_MEM.format(0, alias).replace("131072", "65536"), "cannot modify memory size"),
            (VIRTIO_MEM.format(0, "<alias name='virtiomem7'/>"), "memory 'virtiomem7' not found"),
        ):
            with pytest.raises(VirError, match=words) as refused:
                await tree.worker.call(UpdateDevice(xml=xml))
            assert refused.value.code in (ErrorCode.XML_DETAIL, ErrorCode.CONFIG_UNSUPPORTED)


async def test_a_module_that_qemu_never_got_is_dropped_by_the_next_worker(
    tmp_path: Path, emulator_facts: EmulatorFacts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unplug, "UNPLUG_S", 0.05)
    tree = WorkerTree(tmp_path, emulator_facts)
    try:
        async with tree.run_worker():
            await start(tree)
            await tree.worker.call(AttachDevice(xml=DIMM))
        tree.script(modules())
        async with tree.run_worker():
            domain = parse_domain(await live_xml(tree))
            assert domain.devices.memories == []
            assert domain.memory == 131072
            assert tree.commands().count("object-del") == 1
    finally:
        tree.close()
