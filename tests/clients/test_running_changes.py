"""Small changes of a running guest by stock clients: disk size, lifecycle actions, dirty rate."""

from __future__ import annotations

import shlex
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from tests.clients.daemon import Daemon
from tests.clients.domains import booting, idle
from tests.clients.event_watch import Watch
from tests.clients.guest import Guest
from tests.clients.libvirt_binding import libvirt

BYTES = libvirt.VIR_DOMAIN_BLOCK_RESIZE_BYTES
MEASURED = 2
CALC_S = 10.0
DIRTY = libvirt.VIR_DOMAIN_STATS_DIRTYRATE


def with_disk(path: Path, image_format: str) -> str:
    subprocess.run(
        ["/usr/bin/qemu-img", "create", "-q", "-f", image_format, str(path), "1M"], check=True
    )
    return (
        f"<disk type='file' device='disk'><driver name='qemu' type='{image_format}'/>"
        f"<source file='{path}'/><target dev='vda' bus='virtio'/></disk>"
    )


def test_disks_lifecycle_actions_and_the_dirty_rate(
    daemon: Daemon, link: Any, tmp_path: Path
) -> None:
    domain = link.defineXML(idle("web", devices=with_disk(tmp_path / "a", "qcow2")))
    domain.create()
    domain.blockResize("vda", (2 << 20) + 5, BYTES)
    assert domain.blockInfo("vda")[0] == (2 << 20) + 512
    assert daemon.ok("blockresize", "web", "vda", "4M")
    assert domain.blockInfo("vda")[0] == 4 << 20
    with pytest.raises(libvirt.libvirtError, match="was not found") as unknown:
        domain.blockResize("vdz", 1)
    assert unknown.value.get_error_code() == libvirt.VIR_ERR_INVALID_ARG

    assert daemon.ok("set-lifecycle-action", "web", "crash", "preserve", "--live", "--config")
    assert "<on_crash>preserve</on_crash>" in domain.XMLDesc()
    assert "<on_crash>preserve</on_crash>" in domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE)

    domain.startDirtyRateCalc(1)
    until = time.monotonic() + CALC_S
    while (found := link.domainListGetStats([domain], DIRTY)[0][1]).get(
        "dirtyrate.calc_status"
    ) != MEASURED:
        assert time.monotonic() < until
    assert found["dirtyrate.calc_period"] == 1
    assert found["dirtyrate.calc_mode"] == "page-sampling"
    assert "dirtyrate.megabytes_per_second" in found
    with pytest.raises(libvirt.libvirtError, match="dirty-ring"):
        domain.startDirtyRateCalc(1, libvirt.VIR_DOMAIN_DIRTYRATE_MODE_DIRTY_RING)


def test_a_command_line_is_that_of_the_start_and_leaves_no_process(
    daemon: Daemon, link: Any, tmp_path: Path
) -> None:
    domain = link.defineXML(idle("web", devices=with_disk(tmp_path / "a", "qcow2")))
    words = shlex.split(daemon.ok("domxml-to-native", "qemu-argv", "--domain", "web"))
    assert words[0] == "LC_ALL=C"
    assert "/usr/bin/qemu-system-x86_64" in words
    domain.create()
    (pid,) = daemon.emulators()
    running = Path(f"/proc/{pid}/cmdline").read_text().split("\0")[:-1]
    devices = [word for word in words if word.startswith('{"driver"')]
    assert devices == [word for word in running if word.startswith('{"driver"')]
    with pytest.raises(libvirt.libvirtError, match="unsupported config type") as other:
        link.domainXMLToNative("xen-xl", domain.XMLDesc(), 0)
    assert other.value.get_error_code() == libvirt.VIR_ERR_INVALID_ARG
    workers = [row["name"] for row in daemon.status() if row["name"].startswith("qemu:")]
    assert workers == ["qemu:web"]


def test_a_guest_whose_reboot_is_to_end_it_ends(link: Any, tiny: Guest, tmp_path: Path) -> None:
    """The action is changed while the guest boots, and it reboots by itself."""
    watch = Watch(link)
    image = tmp_path / "a"
    domain = link.createXML(
        booting("web", tiny, devices=with_disk(image, "raw"), then="reboot"),
        libvirt.VIR_DOMAIN_START_PAUSED,
    )
    domain.setBlockThreshold("vda", 1 << 19)
    domain.setLifecycleAction(
        libvirt.VIR_DOMAIN_LIFECYCLE_REBOOT, libvirt.VIR_DOMAIN_LIFECYCLE_ACTION_DESTROY
    )
    assert "<on_reboot>destroy</on_reboot>" in domain.XMLDesc()
    domain.resume()
    watch.wait_for(
        "web", libvirt.VIR_DOMAIN_EVENT_STOPPED, libvirt.VIR_DOMAIN_EVENT_STOPPED_SHUTDOWN
    )
    watch.close()
