"""Changes of a running guest's disks, its lifecycle actions, and QMP commands with descriptors."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from conf.domain import parse_domain
from conf.emulator import EmulatorFacts
from ipc import Descriptor
from rpc import table as wire_table
from rpc.enums import DomainEventID, DomainState
from rpc.errors import ErrorCode, VirError
from supervisor.messages.worker import SetLifecycleAction
from supervisor.workers.qemu.calls.disks import image_index
from tests.unit.workers.qemu.worker_under_test import WorkerTree, tree_of, until

DISKS = (
    "<disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='{image}'/>"
    "<target dev='vda' bus='virtio'/></disk>"
    "<disk type='file' device='cdrom'><target dev='hdc' bus='ide'/><readonly/></disk>"
)
CHAIN = """<domain type='qemu'><name>x</name><memory>1024</memory>
<os><type arch='x86_64' machine='pc'>hvm</type></os><devices>
<disk type='file'><source file='/top' index='3'/><target dev='vda' bus='virtio'/>
<backingStore type='file' index='4'><format type='qcow2'/><source file='/base'/><backingStore/>
</backingStore></disk>
<disk type='file' device='cdrom'><target dev='hdc' bus='ide'/></disk></devices></domain>"""


def thresholds(tree: WorkerTree) -> list[tuple[object, ...]]:
    """The write thresholds that clients were told of."""
    decode = wire_table.load().named("domain_event_block_threshold").decode_args
    wanted = DomainEventID.BLOCK_THRESHOLD
    payloads = [event.payload for event in tree.forwarded if event.event_id == wanted]
    return [decode(bytes(4) + payload)[2:] for payload in payloads]


async def refusal(tree: WorkerTree, name: str, *arguments: object) -> ErrorCode:
    """The code of a call that must fail."""
    with pytest.raises(VirError) as refused:
        await tree.call(name, *arguments)
    return refused.value.code


async def test_a_disk_is_resized_unless_it_is_empty_or_unknown(
    tmp_path: Path, emulator_facts: EmulatorFacts
) -> None:
    image = tmp_path / "image"
    image.write_bytes(bytes(4096))
    async with tree_of(tmp_path, emulator_facts) as tree:
        await tree.start(DISKS.format(image=image))
        await tree.call("domain_block_resize", "vda", 8, 0)
        await tree.call("domain_block_resize", str(image), 8192, 1)
        assert tree.commands()[-4:] == ["query-status", "block_resize"] * 2
        unsupported = ErrorCode.OPERATION_UNSUPPORTED
        assert await refusal(tree, "domain_block_resize", "hdc", 8, 0) is unsupported
        assert await refusal(tree, "domain_block_resize", "vdz", 8, 0) is ErrorCode.INVALID_ARG
        tree.script({"block_resize": [{"error": "GenericError"}]})
        assert await refusal(tree, "domain_block_resize", "vda", 8, 0) is ErrorCode.INTERNAL_ERROR


async def test_a_write_beyond_the_threshold_is_an_event_by_both_names_of_the_image(
    tmp_path: Path, emulator_facts: EmulatorFacts
) -> None:
    image = tmp_path / "image"
    image.write_bytes(bytes(4096))
    async with tree_of(tmp_path, emulator_facts) as tree:
        await tree.start(DISKS.format(image=image))
        data = {"node-name": "libvirt-2-storage", "amount-exceeded": 7, "write-threshold": 9}
        tree.script(
            {"block-set-write-threshold": [{"event": "BLOCK_WRITE_THRESHOLD", "data": data}]}
        )
        await tree.call("domain_set_block_threshold", "vda", 9, 0)
        await until(lambda: len(thresholds(tree)) == 2)
        assert thresholds(tree) == [("vda", str(image), 9, 7), ("vda[2]", str(image), 9, 7)]


@pytest.mark.parametrize(("dev", "index"), [("vda", 3), ("vda[3]", 3), ("vda[4]", 4)])
def test_an_image_is_named_by_its_disk_and_its_index(dev: str, index: int) -> None:
    assert image_index(parse_domain(CHAIN).devices.disks, dev) == index


@pytest.mark.parametrize(
    ("dev", "message"),
    [
        ("", "failed to parse"), ("vda[x]", "failed to parse"), ("vda[3", "failed to parse"),
        ("vdz", "failed to find disk 'vdz'"), ("vda[9]", "failed to find disk"),
        ("hdc", "can't be set"),
    ],
)  # fmt: skip
def test_an_image_that_is_not_there_is_refused(dev: str, message: str) -> None:
    with pytest.raises(VirError, match=message):
        image_index(parse_domain(CHAIN).devices.disks, dev)


async def test_qemu_is_told_of_a_reboot_that_is_to_end_the_guest(
    tmp_path: Path, emulator_facts: EmulatorFacts
) -> None:
    async with tree_of(tmp_path, emulator_facts) as tree:
        await tree.start()
        change = SetLifecycleAction(event="on_reboot", action="destroy")
        assert "<on_reboot>destroy</on_reboot>" in (await tree.worker.call(change)).live_xml
        assert tree.commands()[-1] == "set-action"
        crash = SetLifecycleAction(event="on_crash", action="preserve")
        assert "<on_crash>preserve</on_crash>" in (await tree.worker.call(crash)).live_xml
        assert tree.commands().count("set-action") == 1
        for event, action in (("on_poweroff", "restart"), ("on_crash", "rename-restart")):
            with pytest.raises(VirError, match="driver doesn't support"):
                await tree.worker.call(SetLifecycleAction(event=event, action=action))
        tree.script({"set-action": [{"error": "GenericError"}]})
        with pytest.raises(VirError, match="set-action"):
            await tree.worker.call(SetLifecycleAction(event="on_reboot", action="restart"))
        guest = (await tree.status()).guest
        assert guest is not None
        assert guest.state == DomainState.RUNNING
        for kept in ("<on_reboot>destroy", "<on_crash>preserve", "<on_poweroff>destroy"):
            assert kept in guest.live_xml


async def test_one_descriptor_goes_with_a_qmp_command(
    tmp_path: Path, emulator_facts: EmulatorFacts
) -> None:
    async with tree_of(tmp_path, emulator_facts) as tree:
        await tree.start()
        name, command = "domain_monitor_command_with_files", '{"execute": "getfd"}'
        files = [Descriptor(os.open("/dev/null", os.O_RDONLY)) for _ in range(3)]
        reply = await tree.call(name, command, 0, descriptors=files[:1])
        assert '"return"' in reply
        with pytest.raises(VirError, match="at most 1 fd"):
            await tree.call(name, command, 0, descriptors=files[1:])
