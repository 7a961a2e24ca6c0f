"""Audit records of a real guest in the daemon's log, from its start to its end."""

from __future__ import annotations

import re
from pathlib import Path

from tests.clients.daemon import Daemon
from tests.clients.event_watch import wait_until
from tests.clients.libvirt_binding import libvirt

XML = """
<domain type='qemu'><name>audited</name><memory unit='MiB'>32</memory>
<os><type arch='x86_64' machine='pc'>hvm</type></os><devices>
<disk type='file'><driver name='qemu' type='raw'/><source file='{image}'/>
<target dev='vda' bus='virtio'/></disk>
<disk type='file' device='cdrom'><target dev='hdc' bus='ide'/></disk>
<memballoon model='none'/></devices></domain>
"""
MEDIUM = (
    "<disk type='file' device='cdrom'><driver name='qemu' type='raw'/><source file='{image}'/>"
    "<target dev='hdc' bus='ide'/><readonly/></disk>"
)


def test_a_guests_life_is_recorded(tmp_path: Path) -> None:
    images = [tmp_path / name for name in ("a.img", "b.img")]
    for image in images:
        image.write_bytes(bytes(1 << 20))
    daemon = Daemon()
    folder = daemon.root / "etc/libvirt"
    folder.mkdir(parents=True)
    (folder / "libvirtd.conf").write_text("audit_logging = 1\n")
    with daemon:
        connection = libvirt.open(daemon.uri)
        domain = connection.createXML(XML.format(image=images[0]), libvirt.VIR_DOMAIN_START_PAUSED)
        domain.updateDeviceFlags(MEDIUM.format(image=images[1]))
        domain.destroy()
        connection.close()
        wait_until("the end", lambda: "op=stop" in daemon.log.read_text())
        records = re.findall(r"success=(\w+) virt=qemu (.*)", daemon.log.read_text())
    texts = [re.sub(r'vm="audited" uuid=\S+', "…", text) for _, text in records]
    assert {success for success, _ in records} == {"yes"}
    assert f'resrc=disk reason=start … old-disk="?" new-disk="{images[0]}"' in texts
    assert "resrc=mem reason=start … old-mem=0 new-mem=32768" in texts
    assert re.search(r"op=start reason=booted … vm-pid=[1-9]", "\n".join(texts))
    assert f'resrc=disk reason=update … old-disk="?" new-disk="{images[1]}"' in texts
    assert texts[-1] == "op=stop reason=destroyed … vm-pid=0"
