"""Hotplug against a QEMU that refuses, dies or waits: a failed attach leaves nothing behind."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

from conf.emulator import EmulatorFacts
from rpc.enums import DomainEventID, DomainState
from rpc.errors import ErrorCode, VirError
from supervisor.messages.worker import AttachDevice, DetachDevice, Suspend, UpdateDevice
from supervisor.workers.qemu.hotplug import unplug, update
from tests.unit.workers.qemu.worker_under_test import Script, WorkerTree, tree_of, until

INTERFACE = (
    "<interface type='bridge'><mac address='52:54:00:00:00:02'/><source bridge='br0'/>"
    "<model type='virtio'/></interface>"
)
NODES = [{"node-name": "libvirt-1-storage"}, {"node-name": "libvirt-1-format"}]
REFUSAL = {"error": "GenericError"}


def disk_xml(folder: Path) -> str:
    image = folder / "disk.raw"
    image.write_bytes(bytes(512))
    return (
        f"<disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='{image}'/>"
        "<target dev='vdb' bus='virtio'/></disk>"
    )


def hotplug_commands(tree: WorkerTree) -> list[str]:
    """The commands that QEMU has got since it was started, without queries."""
    commands = tree.commands()
    after = commands[commands.index("cont") + 1 :]
    return [name for name in after if not name.startswith("query-")]


async def test_a_disk_is_attached_nodes_first_and_is_in_the_live_xml(
    tmp_path: Path, emulator_facts: EmulatorFacts
) -> None:
    async with tree_of(tmp_path, emulator_facts) as tree:
        await tree.start()
        status = await tree.worker.call(AttachDevice(xml=disk_xml(tmp_path)))
        assert hotplug_commands(tree) == ["blockdev-add", "blockdev-add", "device_add"]
        assert "dev='vdb'" in status.live_xml
        assert "virtio-disk1" in status.live_xml
        ids = [event.event_id for event in tree.forwarded]
        assert DomainEventID.DEVICE_ADDED in ids


@pytest.mark.parametrize(
    ("script", "commands"),
    [
        (
            {"device_add": [REFUSAL]},
            ["blockdev-add", "blockdev-add", "device_add", "blockdev-del", "blockdev-del"],
        ),
        ({"blockdev-add": [REFUSAL]}, ["blockdev-add"]),
        ({"query-named-block-nodes": [REFUSAL]}, []),
    ],
)
async def test_a_disk_that_qemu_refuses_leaves_no_node_and_no_xml(
    script: Script, commands: list[str], tmp_path: Path, emulator_facts: EmulatorFacts
) -> None:
    async with tree_of(tmp_path, emulator_facts) as tree:
        await tree.start()
        tree.script(script)
        with pytest.raises(VirError) as refused:
            await tree.worker.call(AttachDevice(xml=disk_xml(tmp_path)))
        assert refused.value.code is ErrorCode.INTERNAL_ERROR
        assert hotplug_commands(tree) == commands
        guest = (await tree.status()).guest
        assert guest is not None
        assert "vdb" not in guest.live_xml
        tree.script({})
        await tree.worker.call(AttachDevice(xml=disk_xml(tmp_path)))


CDROM = "<disk type='file' device='cdrom'>{}<target dev='sda' bus='sata'/><readonly/></disk>"


async def test_a_medium_is_changed_once_the_guest_has_opened_the_tray(
    tmp_path: Path, emulator_facts: EmulatorFacts
) -> None:
    image = tmp_path / "cd.iso"
    image.write_bytes(bytes(4096))
    async with tree_of(tmp_path, emulator_facts) as tree:
        await tree.start(CDROM.format(""))
        moved = {"event": "DEVICE_TRAY_MOVED", "data": {"id": "sata0-0-0", "tray-open": True}}
        tree.script({"blockdev-open-tray": [moved]})
        source = f"<source file='{image}'/>"
        status = await tree.worker.call(UpdateDevice(xml=CDROM.format(source)))
        commands = hotplug_commands(tree)
        assert commands.index("blockdev-open-tray") < commands.index("blockdev-remove-medium")
        assert str(image) in status.live_xml


async def test_a_tray_that_the_guest_keeps_locked_leaves_the_medium(
    tmp_path: Path, emulator_facts: EmulatorFacts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(update, "EJECT_S", 0.05)
    async with tree_of(tmp_path, emulator_facts) as tree:
        await tree.start(CDROM.format(""))
        with pytest.raises(VirError, match="timed out waiting to open tray of 'sda'"):
            await tree.worker.call(UpdateDevice(xml=CDROM.format("")))
        assert "blockdev-remove-medium" not in hotplug_commands(tree)


REDIRDEV = (
    "<redirdev bus='usb' type='tcp'><source mode='bind' host='127.0.0.1' service='4123'/>"
    "<protocol type='raw'/></redirdev>"
)
WATCHDOG = "<watchdog model='i6300esb' action='shutdown'/>"


@pytest.mark.parametrize(
    ("device", "alias", "attached", "removed"),
    [
        (REDIRDEV, "redir0", ["chardev-add", "device_add"], ["device_del", "chardev-remove"]),
        (WATCHDOG, "watchdog0", ["device_add", "watchdog-set-action"], ["device_del"]),
    ],
)
async def test_a_usb_redirection_and_a_watchdog_come_and_go(
    device: str,
    alias: str,
    attached: list[str],
    removed: list[str],
    tmp_path: Path,
    emulator_facts: EmulatorFacts,
) -> None:
    async with tree_of(tmp_path, emulator_facts) as tree:
        await tree.start()
        status = await tree.worker.call(AttachDevice(xml=device))
        assert f"<alias name='{alias}'/>" in status.live_xml
        assert hotplug_commands(tree) == attached
        tree.script({"device_del": [{"event": "DEVICE_DELETED", "data": {"device": alias}}]})
        status = await tree.worker.call(DetachDevice(xml=device))
        assert hotplug_commands(tree) == [*attached, *removed]
        assert f"<alias name='{alias}'/>" not in status.live_xml


@pytest.mark.parametrize("command", ["getfd", "netdev_add", "device_add"])
async def test_an_interface_that_qemu_refuses_is_detached_by_netd(
    command: str, tmp_path: Path, emulator_facts: EmulatorFacts
) -> None:
    async with tree_of(tmp_path, emulator_facts) as tree:
        await tree.start()
        tree.script({command: [REFUSAL]})
        with pytest.raises(VirError):
            await tree.worker.call(AttachDevice(xml=INTERFACE))
        assert tree.ports == []
        tree.script({})
        status = await tree.worker.call(AttachDevice(xml=INTERFACE))
        assert tree.ports == ["vnet7"]
        assert "vnet7" in status.live_xml


async def test_a_qemu_that_dies_during_an_attach_is_cleaned_up(
    tmp_path: Path, emulator_facts: EmulatorFacts
) -> None:
    async with tree_of(tmp_path, emulator_facts) as tree:
        await tree.start()
        tree.script({"device_add": ["die"]})
        with pytest.raises(VirError):
            await tree.worker.call(AttachDevice(xml=INTERFACE))
        await until(lambda: bool(tree.stopped))
        assert tree.leftovers() == []


async def test_a_device_that_the_guest_releases_is_removed_with_its_nodes(
    tmp_path: Path, emulator_facts: EmulatorFacts
) -> None:
    async with tree_of(tmp_path, emulator_facts) as tree:
        await tree.start()
        await tree.worker.call(AttachDevice(xml=disk_xml(tmp_path)))
        deleted = {"event": "DEVICE_DELETED", "data": {"device": "virtio-disk1"}}
        tree.script({"device_del": [deleted], "query-named-block-nodes": [{"return": NODES}]})
        status = await tree.worker.call(DetachDevice(xml=disk_xml(tmp_path)))
        assert "vdb" not in status.live_xml
        assert hotplug_commands(tree)[-3:] == ["device_del", "blockdev-del", "blockdev-del"]


async def test_a_device_that_the_guest_releases_late_is_removed_then(
    tmp_path: Path, emulator_facts: EmulatorFacts, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unplug, "UNPLUG_S", 0.2)
    async with tree_of(tmp_path, emulator_facts) as tree:
        await tree.start()
        await tree.worker.call(AttachDevice(xml=INTERFACE))
        status = await tree.worker.call(DetachDevice(xml=INTERFACE))
        assert "vnet7" in status.live_xml  # the guest has not released it yet
        assert tree.ports == ["vnet7"]
        deleted = {"event": "DEVICE_DELETED", "data": {"device": "net0"}}
        tree.script({"stop": [deleted]})
        await tree.worker.call(Suspend())
        await until(lambda: not tree.ports)
        guest = (await tree.status()).guest
        assert guest is not None
        assert "<interface" not in guest.live_xml
        assert guest.state == DomainState.PAUSED
        await until(
            lambda: DomainEventID.DEVICE_REMOVED in [event.event_id for event in tree.forwarded]
        )


async def test_a_device_that_qemu_will_not_delete_stays(
    tmp_path: Path, emulator_facts: EmulatorFacts
) -> None:
    async with tree_of(tmp_path, emulator_facts) as tree:
        await tree.start()
        await tree.worker.call(AttachDevice(xml=INTERFACE))
        tree.script({"device_del": [{"error": "DeviceNotFound"}]})
        with pytest.raises(VirError):
            await tree.worker.call(DetachDevice(xml=INTERFACE))
        guest = (await tree.status()).guest
        assert guest is not None
        assert "vnet7" in guest.live_xml


RICH = (
    "<serial type='pty'/><parallel type='pty'/>"
    "<channel type='pty'><target type='virtio' name='b'/></channel>"
    "<console type='pty'/><console type='pty'><target type='virtio'/></console>"
    "<disk type='file' device='cdrom'><target dev='sda' bus='sata'/></disk>"
    "<graphics type='spice'><listen type='socket'/></graphics>"
    "<interface type='bridge'><mac address='52:54:00:00:00:01'/><source bridge='br0'/>"
    "<model type='e1000'/></interface>"
)
PTYS = [
    {"label": f"char{alias}", "filename": f"pty:/dev/pts/9{number}", "frontend-open": True}
    for number, alias in enumerate(["serial0", "parallel0", "channel0", "channel1", "console1"])
]
ATTACHED = {
    "interface": INTERFACE,
    "rng": "<rng model='virtio'><backend model='random'>/dev/urandom</backend></rng>",
    "channel": "<channel type='unix'><target type='virtio' name='c'/></channel>",
    "input": "<input type='tablet' bus='usb'/>",
    "controller": "<controller type='scsi' model='virtio-scsi'/>",
    "serial": "<serial type='null'><target type='pci-serial'/></serial>",
}


def lines_without(xml: str, tag: str, alias: str) -> list[str]:
    """The lines of a live document without one device."""
    root = ElementTree.fromstring(xml)
    devices = root.find("devices")
    assert devices is not None
    for device in devices.findall(tag):
        name = device.find("alias")
        if name is not None and name.get("name") == alias:
            devices.remove(device)
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode").splitlines()


@pytest.mark.parametrize("tag", ["disk", *ATTACHED])
async def test_what_was_assigned_at_the_start_survives_an_attach(
    tag: str, tmp_path: Path, emulator_facts: EmulatorFacts
) -> None:
    async with tree_of(tmp_path, emulator_facts) as tree:
        tree.script({"query-chardev": [{"return": PTYS}]})
        await tree.start(RICH)
        opened = {"event": "DEVICE_TRAY_MOVED", "data": {"id": "sata0-0-0", "tray-open": True}}
        tree.script({"query-chardev": [{"return": PTYS}], "stop": [opened]})
        await tree.worker.call(Suspend())
        guest = (await tree.status()).guest
        assert guest is not None
        before = guest.live_xml
        for assigned in ("tty='/dev/pts/90'", "tray='open'", "vnet7", "spice.sock"):
            assert assigned in before
        assert "port='-1'" not in before
        device = ATTACHED.get(tag) or disk_xml(tmp_path)
        status = await tree.worker.call(AttachDevice(xml=device))
        aliases = re.compile(r"<alias name='(.*?)'/>")
        (name,) = {*aliases.findall(status.live_xml)} - {*aliases.findall(before)}
        after = lines_without(status.live_xml, tag, name)
        assert after == lines_without(before, tag, name)


async def test_events_between_the_steps_of_an_attach_are_not_lost(
    tmp_path: Path, emulator_facts: EmulatorFacts
) -> None:
    async with tree_of(tmp_path, emulator_facts) as tree:
        await tree.start()
        opened = {"event": "VSERPORT_CHANGE", "data": {"id": "channel0", "open": True}}
        tree.script({"device_add": [opened]})
        status = await tree.worker.call(AttachDevice(xml=INTERFACE))
        assert "state='connected'" in status.live_xml


async def test_disks_attached_live_are_in_the_order_of_bus_and_target(
    tmp_path: Path, emulator_facts: EmulatorFacts
) -> None:
    async with tree_of(tmp_path, emulator_facts) as tree:
        await tree.start(disk_xml(tmp_path).replace("vdb", "vdc"))
        status = await tree.worker.call(AttachDevice(xml=disk_xml(tmp_path)))
        targets = re.findall(r"<target dev='(vd.)'", status.live_xml)
        assert targets == ["vdb", "vdc"]
