"""Backing chains: the live XML, and what is refused."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.clients.daemon import Daemon
from tests.clients.domains import idle
from tests.clients.libvirt_binding import libvirt

pytestmark = pytest.mark.skipif(
    shutil.which("qemu-img") is None, reason="qemu-img is not installed"
)
FORMAT_EXTENSION = bytes.fromhex("e2792aca")
UNKNOWN_EXTENSION = bytes.fromhex("0ddb1a5e")


class Images:
    """A folder of images that QEMU's user may enter."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def make(self, name: str, form: str = "qcow2", *, below: str = "", below_is: str = "") -> None:
        backing = ("-u", "-b", below, "-F", below_is) if below else ()
        subprocess.run(
            ["qemu-img", "create", "-q", "-f", form, *backing, name, "1M"],
            check=True, cwd=self.folder, capture_output=True, timeout=30,
        )  # fmt: skip

    def patch(self, name: str, old: bytes, new: bytes) -> None:
        path = self.folder / name
        data = path.read_bytes()
        assert old in data
        path.write_bytes(data.replace(old, new, 1))

    def disk(self, name: str, form: str = "qcow2", *, target: str = "vda", more: str = "") -> str:
        return (
            f"<disk type='file' device='disk'><driver name='qemu' type='{form}'/>"
            f"<source file='{self.folder}/{name}'/>{more}"
            f"<target dev='{target}' bus='virtio'/></disk>"
        )


@pytest.fixture
def images(daemon: Daemon) -> Iterator[Images]:
    """An empty folder of images."""
    folder = daemon.root / "images"
    folder.mkdir()
    folder.chmod(0o755)
    yield Images(folder)
    shutil.rmtree(folder)


@pytest.fixture
def connection(daemon: Daemon) -> Iterator[Any]:
    """A connection whose guests all end."""
    link = libvirt.open(daemon.uri)
    yield link
    for guest in link.listAllDomains():
        guest.destroy()
    link.close()


def started(connection: Any, disks: str) -> Any:
    return connection.createXML(idle("chained", devices=disks), libvirt.VIR_DOMAIN_START_PAUSED)


def refusal(connection: Any, disks: str) -> tuple[int, str]:
    with pytest.raises(libvirt.libvirtError) as refused:
        started(connection, disks)
    assert connection.listAllDomains() == []
    return refused.value.get_error_code(), refused.value.get_error_message()


def shown(guest: Any) -> list[str]:
    """The images in the live document, top down, disk after disk: number, format, name."""
    words = re.findall(
        r"<driver name='qemu' type='(\w+)'/>|<format type='(\w+)'/>"
        r"|<source file='[^']*/([\w.-]+)'(?: index='(\d+)')?/>|<backingStore type='\w+' "
        r"index='(\d+)'>|(<backingStore/>)",
        guest.XMLDesc(0),
    )
    return [" ".join(filter(None, found)) for found in words]


def test_the_live_xml_has_every_image_with_its_index_as_stock_does(
    daemon: Daemon, connection: Any, images: Images
) -> None:
    images.make("base.raw", "raw")
    images.make("middle", below="base.raw", below_is="raw")
    images.make("top", below="middle", below_is="qcow2")
    images.make("other.raw", "raw")
    guest = started(connection, images.disk("top") + images.disk("other.raw", "raw", target="vdb"))
    assert shown(guest) == [
        *("qcow2", "top 2", "3", "qcow2", "middle", "4", "raw", "base.raw", "<backingStore/>"),
        *("raw", "other.raw 1", "<backingStore/>"),
    ]
    (pid,) = daemon.emulators()
    argv = Path(f"/proc/{pid}/cmdline").read_text()
    assert argv.index("libvirt-4-storage") < argv.index("libvirt-3-storage")
    assert '"backing":"libvirt-4-format"' in argv


def test_a_chain_in_the_definition_is_used_and_completed(connection: Any, images: Images) -> None:
    images.make("base.raw", "raw")
    images.make("middle", below="base.raw", below_is="raw")
    images.make("top", below="middle", below_is="qcow2")
    guest = started(connection, images.disk("top", more="<backingStore/>"))
    assert shown(guest) == ["qcow2", "top 1", "<backingStore/>"]
    guest.destroy()
    part = (
        "<backingStore type='file'><format type='qcow2'/>"
        f"<source file='{images.folder}/middle'/></backingStore>"
    )
    guest = started(connection, images.disk("top", more=part))
    assert shown(guest)[-4:] == ["3", "raw", "base.raw", "<backingStore/>"]


def test_a_raw_image_has_no_backing_file_whatever_is_in_it(connection: Any, images: Images) -> None:
    images.make("base.raw", "raw")
    images.make("top", below="base.raw", below_is="raw")
    guest = started(connection, images.disk("top", "raw"))
    assert shown(guest) == ["raw", "top 1", "<backingStore/>"]


def test_a_backing_file_without_format_is_refused_if_it_has_one_itself(
    connection: Any, images: Images
) -> None:
    images.make("base.raw", "raw")
    images.make("middle", below="base.raw", below_is="raw")
    images.make("top", below="middle", below_is="qcow2")
    images.patch("top", FORMAT_EXTENSION, UNKNOWN_EXTENSION)
    code, message = refusal(connection, images.disk("top"))
    assert code == libvirt.VIR_ERR_OPERATION_INVALID
    assert "was not specified in the image metadata" in message
    images.make("flat")
    images.make("safe", below="flat", below_is="qcow2")
    images.patch("safe", FORMAT_EXTENSION, UNKNOWN_EXTENSION)
    assert shown(started(connection, images.disk("safe")))[2:4] == ["2", "qcow2"]


def test_missing_images_loops_and_data_files_are_refused(
    daemon: Daemon, connection: Any, images: Images
) -> None:
    code, message = refusal(connection, images.disk("nowhere"))
    assert code == libvirt.VIR_ERR_SYSTEM_ERROR
    assert f"Cannot access storage file '{images.folder}/nowhere'" in message
    images.make("top", below="gone", below_is="raw")
    code, message = refusal(connection, images.disk("top"))
    assert code == libvirt.VIR_ERR_SYSTEM_ERROR
    gone = f"'{images.folder}/gone' of storage file '{images.folder}/top': No such file"
    assert f"Cannot access backing file {gone}" in message
    images.make("loop", below="lo0p", below_is="qcow2")
    images.patch("loop", b"lo0p", b"loop")
    code, message = refusal(connection, images.disk("loop"))
    assert (code, "self-referential" in message) == (libvirt.VIR_ERR_INTERNAL_ERROR, True)
    command = ["qemu-img", "create", "-q", "-f", "qcow2", "-o", "data_file=c.raw", "split", "1M"]
    subprocess.run(command, check=True, cwd=images.folder, capture_output=True, timeout=30)
    code, message = refusal(connection, images.disk("split"))
    assert code == libvirt.VIR_ERR_CONFIG_UNSUPPORTED
    assert list(daemon.emulators()) == []


def test_an_attached_disk_has_its_chain_in_the_live_xml(connection: Any, images: Images) -> None:
    images.make("base.raw", "raw")
    images.make("top", below="base.raw", below_is="raw")
    guest = started(connection, "")
    guest.attachDevice(images.disk("top"))
    assert shown(guest) == ["qcow2", "top 1", "2", "raw", "base.raw", "<backingStore/>"]


def test_a_new_medium_has_its_own_chain(connection: Any, images: Images) -> None:
    images.make("base.raw", "raw")
    images.make("top", below="base.raw", below_is="raw")
    images.make("plain.raw", "raw")

    def drive(name: str, form: str) -> str:
        return (
            images.disk(name, form, target="hda")
            .replace("'disk'", "'cdrom'")
            .replace(" bus='virtio'/>", " bus='ide'/><readonly/>")
        )

    guest = started(connection, drive("top", "qcow2"))
    assert "base.raw" in guest.XMLDesc(0)
    guest.updateDeviceFlags(drive("plain.raw", "raw"), libvirt.VIR_DOMAIN_AFFECT_LIVE)
    live = guest.XMLDesc(0)
    assert ("plain.raw" in live, "base.raw" in live) == (True, False)
    guest.updateDeviceFlags(drive("top", "qcow2"), libvirt.VIR_DOMAIN_AFFECT_LIVE)
    assert "base.raw" in guest.XMLDesc(0)
