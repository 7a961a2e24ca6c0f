"""Command line options as QMP commands: what undoes each, and how long QEMU may take."""

from __future__ import annotations

import pytest

from conf.errors import ConfError
from supervisor.workers.qemu.hotplug.qmp_steps import qmp_step
from supervisor.workers.qemu.qmp.monitor import COMMAND_S


@pytest.mark.parametrize(
    ("option", "text", "command", "undo"),
    [
        ("-object", '{"qom-type": "rng-random", "id": "objrng0"}', "object-add", "object-del"),
        ("-blockdev", '{"driver": "file", "node-name": "n"}', "blockdev-add", "blockdev-del"),
        ("-netdev", '{"type": "user", "id": "hostnet0"}', "netdev_add", "netdev_del"),
        ("-device", '{"driver": "virtio-rng-pci", "id": "rng0"}', "device_add", "device_del"),
    ],
)
def test_each_step_is_undone_by_the_name_that_it_gives(
    option: str, text: str, command: str, undo: str
) -> None:
    step = qmp_step(option, text)
    assert (step.command, step.undo) == (command, undo)
    ((member, name),) = step.undo_arguments.items()
    assert step.arguments[member] == name


def test_an_image_may_take_longer_to_open_than_other_commands() -> None:
    """LUKS derives its key in two seconds of processor time, more on a busy host."""
    opening = qmp_step("-blockdev", '{"driver": "luks", "node-name": "n"}')
    adding = qmp_step("-device", '{"driver": "virtio-blk-pci", "id": "d"}')
    assert opening.timeout_s > adding.timeout_s == COMMAND_S


def test_an_option_without_a_command_is_refused() -> None:
    with pytest.raises(ConfError) as refusal:
        qmp_step("-machine", "pc")
    assert refusal.value.kind == "operation_unsupported"
