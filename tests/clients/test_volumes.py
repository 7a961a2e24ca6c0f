"""Volumes of folders through stock virsh, on a real daemon."""

from __future__ import annotations

import filecmp
import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.clients.daemon import VIRSH, Daemon
from tests.clients.libvirt_binding import libvirt

MIB = 1024 * 1024
NAMES_FORMAT = b"\xe2\x79\x2a\xca"  # the mark of that extension in a qcow2's header


@pytest.fixture
def pool(daemon: Daemon) -> Iterator[Path]:
    """The folder of an active pool "v" of the daemon."""
    folder = daemon.root / "volumes"
    daemon.ok("pool-create-as", "v", "dir", "--target", str(folder), "--build")
    yield folder
    daemon.ok("pool-destroy", "v")
    subprocess.run(["rm", "-rf", str(folder)], check=True)


def image(path: Path) -> dict[str, object]:
    """What qemu-img says of an image."""
    words = ["qemu-img", "info", "--output=json", str(path)]
    found: dict[str, object] = json.loads(
        subprocess.run(words, capture_output=True, check=True).stdout
    )
    return found


def test_raw_volumes_are_sparse_or_have_their_space(daemon: Daemon, pool: Path) -> None:
    daemon.ok("vol-create-as", "v", "sparse.raw", "10M", "--allocation", "0")
    daemon.ok("vol-create-as", "v", "full.raw", "10M")
    assert (pool / "sparse.raw").stat().st_blocks == 0
    assert (pool / "full.raw").stat().st_blocks * 512 >= 10 * MIB
    assert (pool / "full.raw").stat().st_mode & 0o777 == 0o600


def test_a_qcow2_gets_what_its_document_asks_for(daemon: Daemon, pool: Path) -> None:
    daemon.ok("vol-create-as", "v", "base.qcow2", "1G", "--format", "qcow2")
    document = pool.parent / "top.xml"
    document.write_text(
        "<volume><name>top.qcow2</name><capacity unit='GiB'>1</capacity><target>"
        "<format type='qcow2'/><permissions><mode>0640</mode><owner>65534</owner>"
        "<group>65534</group></permissions><compat>1.1</compat>"
        "<clusterSize unit='KiB'>128</clusterSize>"
        "<features><lazy_refcounts/></features></target>"
        f"<backingStore><path>{pool}/base.qcow2</path><format type='qcow2'/></backingStore>"
        "</volume>"
    )
    daemon.ok("vol-create", "v", str(document))
    found = image(pool / "top.qcow2")
    assert found["cluster-size"] == 128 * 1024
    assert found["backing-filename-format"] == "qcow2"
    assert "'lazy-refcounts': True" in str(found["format-specific"])
    status = (pool / "top.qcow2").stat()
    assert (status.st_mode & 0o777, status.st_uid, status.st_gid) == (0o640, 65534, 65534)
    daemon.ok("pool-refresh", "v")
    described = daemon.ok("vol-dumpxml", "top.qcow2", "v")
    assert f"<path>{pool}/base.qcow2</path>" in described
    assert "<lazy_refcounts/>" in described


def test_copies_hold_what_their_originals_do(daemon: Daemon, pool: Path) -> None:
    daemon.ok("vol-create-as", "v", "a.raw", "4M", "--allocation", "0")
    data = pool.parent / "data"
    data.write_bytes(os.urandom(MIB))
    daemon.ok("vol-upload", "a.raw", str(data), "--pool", "v", "--offset", str(MIB))
    daemon.ok("vol-clone", "a.raw", "b.raw", "--pool", "v")
    assert (pool / "a.raw").read_bytes() == (pool / "b.raw").read_bytes()
    assert (pool / "b.raw").stat().st_blocks * 512 < 2 * MIB  # its holes are holes
    converted = "<volume><name>c.qcow2</name><capacity>0</capacity><target><format type='qcow2'/>"
    document = pool.parent / "c.xml"
    document.write_text(f"{converted}</target></volume>")
    daemon.ok("vol-create-from", "v", str(document), "a.raw", "--inputpool", "v")
    back = pool.parent / "back"
    words = ["qemu-img", "convert", "-O", "raw", str(pool / "c.qcow2"), str(back)]
    subprocess.run(words, check=True)
    assert back.read_bytes() == (pool / "a.raw").read_bytes()


def test_what_is_uploaded_comes_back(daemon: Daemon, pool: Path) -> None:
    data, back = pool.parent / "up", pool.parent / "down"
    data.write_bytes(os.urandom(9 * MIB + 17))
    daemon.ok("vol-create-as", "v", "a.raw", "12M")
    daemon.ok("vol-upload", "a.raw", str(data), "--pool", "v")
    daemon.ok("vol-download", "a.raw", str(back), "--pool", "v")
    assert back.read_bytes()[: 9 * MIB + 17] == data.read_bytes()
    daemon.ok("vol-download", "a.raw", str(back), "--pool", "v", "--offset", "7", "--length", "99")
    assert back.read_bytes() == data.read_bytes()[7:106]
    refused = daemon.virsh("vol-upload", "a.raw", str(data), "--pool", "v", "--length", "1000")
    assert "longer than its length" in refused.stderr  # virsh sends the whole file all the same
    refused = daemon.virsh(
        "vol-download", "a.raw", str(back), "--pool", "v", "--offset", str(99 * MIB)
    )
    assert "beyond the end" in refused.stderr


def test_sizes_change_only_as_asked(daemon: Daemon, pool: Path) -> None:
    daemon.ok("vol-create-as", "v", "a.qcow2", "1G", "--format", "qcow2")
    daemon.ok("vol-resize", "a.qcow2", "1G", "--pool", "v", "--delta")
    assert image(pool / "a.qcow2")["virtual-size"] == 2 * 1024 * MIB
    assert "shrink" in daemon.virsh("vol-resize", "a.qcow2", "1G", "--pool", "v").stderr
    daemon.ok("vol-resize", "a.qcow2", "1G", "--pool", "v", "--shrink")
    assert image(pool / "a.qcow2")["virtual-size"] == 1024 * MIB
    refused = daemon.virsh("vol-resize", "a.qcow2", "8E", "--pool", "v", "--delta")
    assert refused.returncode != 0
    daemon.ok("vol-create-as", "v", "a.raw", "1M", "--allocation", "0")
    daemon.ok("vol-resize", "a.raw", "2M", "--pool", "v", "--allocate")
    assert (pool / "a.raw").stat().st_size == 2 * MIB


def test_a_wiped_volume_holds_zeros(daemon: Daemon, pool: Path) -> None:
    daemon.ok("vol-create-as", "v", "a.raw", "1M")
    (pool / "a.raw").write_bytes(os.urandom(MIB))
    daemon.ok("vol-wipe", "a.raw", "v")
    assert (pool / "a.raw").read_bytes() == bytes(MIB)
    refused = daemon.virsh("vol-wipe", "a.raw", "v", "--algorithm", "trim")
    assert "trim" in refused.stderr


def test_names_that_lead_out_of_the_pool_are_refused(daemon: Daemon, pool: Path) -> None:
    for name in ("../out", "..", "a/b"):
        assert daemon.virsh("vol-create-as", "v", name, "1M").returncode != 0
    document = pool.parent / "break.xml"
    document.write_text("<volume><name>a&#10;b</name><capacity>1</capacity></volume>")
    assert "control character" in daemon.virsh("vol-create", "v", str(document)).stderr
    assert not (pool.parent / "out").exists()
    assert list(pool.iterdir()) == []


def test_a_link_out_of_the_pool_is_not_written_through(daemon: Daemon, pool: Path) -> None:
    outside = pool.parent / "outside"
    outside.write_bytes(b"mine" * 100)
    (pool / "trap").symlink_to(outside)
    daemon.ok("pool-refresh", "v")
    refused = daemon.virsh("vol-wipe", "trap", "v")
    assert "outside of its pool" in refused.stderr
    data = pool.parent / "other"
    data.write_bytes(b"theirs")
    assert daemon.virsh("vol-upload", "trap", str(data), "--pool", "v").returncode != 0
    assert outside.read_bytes() == b"mine" * 100
    daemon.ok("vol-delete", "trap", "v")
    assert outside.exists()


def test_an_image_behind_a_link_out_of_the_pool_is_no_volume(daemon: Daemon, pool: Path) -> None:
    outside = pool.parent / "outside.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", str(outside), "1M"], check=True)
    (pool / "trap").symlink_to(outside)
    daemon.ok("pool-refresh", "v")
    document = pool.parent / "copy.xml"
    document.write_text(
        "<volume><name>copy</name><capacity>0</capacity><target><format type='qcow2'/></target>"
        "</volume>"
    )
    for words in (
        ("vol-resize", "trap", "2M", "--pool", "v"),
        ("vol-create-from", "v", str(document), "trap", "--inputpool", "v"),
    ):
        assert "outside of its pool" in daemon.virsh(*words).stderr
    assert image(outside)["virtual-size"] == MIB
    assert [path.name for path in pool.iterdir()] == ["trap"]


def test_a_name_is_given_once(daemon: Daemon, pool: Path) -> None:
    daemon.ok("vol-create-as", "v", "a.raw", "1M")
    assert "exists" in daemon.virsh("vol-create-as", "v", "a.raw", "1M").stderr
    (pool / "b.raw").write_bytes(b"there already, unseen")
    assert "exists" in daemon.virsh("vol-create-as", "v", "b.raw", "1M").stderr
    assert (pool / "b.raw").read_bytes() == b"there already, unseen"


def test_what_does_not_fit_leaves_nothing(daemon: Daemon, pool: Path) -> None:
    refused = daemon.virsh("vol-create-as", "v", "big.raw", "100T")
    assert refused.returncode != 0
    assert daemon.virsh("vol-create-as", "v", "huge.raw", "9E", "--allocation", "0").returncode != 0
    assert list(pool.iterdir()) == []


def test_a_backing_image_without_a_format_is_not_guessed(daemon: Daemon, pool: Path) -> None:
    create = ["qemu-img", "create", "-q", "-f", "qcow2"]
    subprocess.run([*create, str(pool / "a"), "1M"], check=True)
    for below, name in (("a", "b"), ("b", "c")):
        words = ["-F", "qcow2", "-b", str(pool / below), str(pool / name)]
        subprocess.run([*create, *words], check=True)
    header = (pool / "c").read_bytes()
    assert NAMES_FORMAT in header  # qemu-img makes no image without; others do
    (pool / "c").write_bytes(header.replace(NAMES_FORMAT, b"\x01\x02\x03\x04"))
    daemon.ok("pool-refresh", "v")
    refused = daemon.virsh("vol-clone", "c", "d", "--pool", "v")
    assert "was not specified in the image metadata" in refused.stderr
    assert not (pool / "d").exists()


def test_an_encrypted_volume_is_made_with_its_secret(daemon: Daemon, pool: Path) -> None:
    uuid = "f52a81b2-424e-490c-823d-6bd4235bc572"
    secret, value = pool.parent / "secret.xml", pool.parent / "value"
    secret.write_text(
        f"<secret ephemeral='no' private='yes'><uuid>{uuid}</uuid><usage type='volume'>"
        "<volume>encrypted</volume></usage></secret>"
    )
    value.write_bytes(b"a passphrase")
    document = pool.parent / "encrypted.xml"
    document.write_text(
        "<volume><name>e.qcow2</name><capacity unit='MiB'>8</capacity><target>"
        f"<format type='qcow2'/><encryption format='luks'><secret type='passphrase' uuid='{uuid}'/>"
        "</encryption></target></volume>"
    )
    assert "no secret" in daemon.virsh("vol-create", "v", str(document)).stderr
    assert list(pool.iterdir()) == []
    daemon.ok("secret-define", str(secret))
    daemon.ok("secret-set-value", uuid, "--file", str(value), "--plain")
    try:
        daemon.ok("vol-create", "v", str(document))
        assert image(pool / "e.qcow2")["encrypted"] is True
        opened = f"driver=qcow2,file.filename={pool}/e.qcow2,encrypt.key-secret=s"
        words = ["qemu-io", "--object", f"secret,id=s,file={value}", "--image-opts", opened]
        subprocess.run([*words, "-c", "write 0 4k"], check=True, capture_output=True)
        assert f"uuid='{uuid}'" in daemon.ok("vol-dumpxml", "e.qcow2", "v")
        daemon.ok("vol-resize", "e.qcow2", "16M", "--pool", "v")
        assert image(pool / "e.qcow2")["virtual-size"] == 16 * MIB
        subprocess.run([*words, "-c", "read 15M 4k"], check=True, capture_output=True)
        daemon.ok("pool-refresh", "v")  # what its document said is forgotten: its path names it
        refused = daemon.virsh("vol-resize", "e.qcow2", "20M", "--pool", "v")
        assert f"{pool}/e.qcow2" in refused.stderr
        assert image(pool / "e.qcow2")["virtual-size"] == 16 * MIB
        assert "a passphrase" not in daemon.log.read_text()
    finally:
        daemon.ok("secret-undefine", uuid)


def test_a_luks_volume_is_resized_with_the_secret_for_its_path(daemon: Daemon, pool: Path) -> None:
    secret, value = pool.parent / "secret.xml", pool.parent / "value"
    secret.write_text(
        "<secret ephemeral='yes' private='yes'><usage type='volume'>"
        f"<volume>{pool}/e.img</volume></usage></secret>"
    )
    value.write_bytes(b"another passphrase")
    uuid = daemon.ok("secret-define", str(secret)).split()[1]
    daemon.ok("secret-set-value", uuid, "--file", str(value), "--plain")
    document = pool.parent / "encrypted.xml"
    document.write_text(
        "<volume><name>e.img</name><capacity unit='MiB'>4</capacity><target><format type='raw'/>"
        f"<encryption format='luks'><secret type='passphrase' usage='{pool}/e.img'/></encryption>"
        "</target></volume>"
    )
    try:
        daemon.ok("vol-create", "v", str(document))
        daemon.ok("pool-refresh", "v")
        daemon.ok("vol-resize", "e.img", "8M", "--pool", "v")
        assert image(pool / "e.img")["virtual-size"] == 8 * MIB
        refused = daemon.virsh("vol-resize", "e.img", "9M", "--pool", "v", "--allocate")
        assert "without encryption" in refused.stderr
    finally:
        daemon.ok("secret-undefine", uuid)


def test_an_overlay_is_resized_and_copied_with_what_lies_below(daemon: Daemon, pool: Path) -> None:
    create = ["qemu-img", "create", "-q", "-f", "qcow2"]
    subprocess.run([*create, str(pool / "base"), "1M"], check=True)
    subprocess.run(["qemu-io", "-c", "write -P 7 0 64k", str(pool / "base")], check=True)
    subprocess.run([*create, "-F", "qcow2", "-b", "base", str(pool / "top")], check=True)
    daemon.ok("pool-refresh", "v")
    daemon.ok("vol-resize", "top", "2M", "--pool", "v")
    assert image(pool / "top")["backing-filename"] == "base"
    document = pool.parent / "copy.xml"
    document.write_text(
        "<volume><name>flat</name><capacity unit='MiB'>3</capacity><target>"
        "<format type='qcow2'/></target></volume>"
    )
    daemon.ok("vol-create-from", "v", str(document), "top", "--inputpool", "v")
    assert image(pool / "flat")["virtual-size"] == 3 * MIB
    words = ["qemu-io", "-r", "-f", "qcow2", "-c", "read -P 7 0 64k", "-c", "read -P 0 64k 64k"]
    said = subprocess.run([*words, str(pool / "flat")], check=True, capture_output=True, text=True)
    assert "failed" not in said.stdout


def test_what_stock_refuses_of_deleting_is_refused_with_its_code(
    daemon: Daemon, pool: Path
) -> None:
    daemon.ok("vol-create-as", "v", "a.raw", "1M")
    daemon.ok("pool-define-as", "off", "dir", "--target", str(pool.parent / "off"))
    link = libvirt.open(daemon.uri)
    try:
        volume = link.storagePoolLookupByName("v").storageVolLookupByName("a.raw")
        with pytest.raises(libvirt.libvirtError, match="no snapshots") as refused:
            volume.delete(libvirt.VIR_STORAGE_VOL_DELETE_WITH_SNAPSHOTS)
        assert refused.value.get_error_code() == libvirt.VIR_ERR_INVALID_ARG
        with pytest.raises(libvirt.libvirtError, match="zeroes") as refused:
            link.storagePoolLookupByName("off").delete(libvirt.VIR_STORAGE_POOL_DELETE_ZEROED)
        assert refused.value.get_error_code() == libvirt.VIR_ERR_INVALID_ARG
        assert (pool / "a.raw").exists()
    finally:
        link.close()
        daemon.ok("pool-undefine", "off")


def test_a_copy_ends_with_its_client(daemon: Daemon, pool: Path) -> None:
    daemon.ok("vol-create-as", "v", "a.raw", "1G", "--allocation", "0")
    with (pool / "a.raw").open("r+b") as file:
        for _ in range(1024):
            file.write(os.urandom(MIB))
    with subprocess.Popen(
        [VIRSH, "-c", daemon.uri, "vol-clone", "a.raw", "b.raw", "--pool", "v"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as virsh:
        until = time.monotonic() + 20
        while not any(path.name.startswith(".virtvisor") for path in pool.iterdir()):
            assert time.monotonic() < until, "the copy never began"
        virsh.kill()
    while any(path.name.startswith(".virtvisor") for path in pool.iterdir()):
        assert time.monotonic() < until, "the copy goes on"
    assert [path.name for path in pool.iterdir()] == ["a.raw"]


def stord_of(daemon: Daemon) -> int:
    """The process that keeps volumes."""
    return next(int(row["pid"]) for row in daemon.status() if row["name"] == "stord")


@pytest.mark.parametrize("form", ["raw", "qcow2"])
def test_stord_killed_while_a_volume_is_made_leaves_none(
    daemon: Daemon, pool: Path, form: str
) -> None:
    data = pool / "a.raw"
    data.write_bytes(os.urandom(256 * MIB))
    daemon.ok("pool-refresh", "v")
    document = pool.parent / "made.xml"
    document.write_text(
        f"<volume><name>made</name><capacity>0</capacity><target><format type='{form}'/></target>"
        "</volume>"
    )
    words = ["vol-create-from", "v", str(document), "a.raw", "--inputpool", "v"]
    stord = stord_of(daemon)
    with subprocess.Popen(
        [VIRSH, "-c", daemon.uri, *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as virsh:
        until = time.monotonic() + 30
        while not any(path.name.startswith(".virtvisor") for path in pool.iterdir()):
            assert time.monotonic() < until, "the volume was never begun"
        os.kill(stord, signal.SIGKILL)
        virsh.communicate(timeout=60)
    assert virsh.returncode != 0
    assert daemon.ok("vol-list", "v").split()[3::2] == ["a.raw"]
    assert [path.name for path in pool.iterdir()] == ["a.raw"]


def test_stord_killed_while_it_wipes_loses_nothing_else(daemon: Daemon, pool: Path) -> None:
    (pool / "a.raw").write_bytes(os.urandom(256 * MIB))
    (pool / "b.raw").write_bytes(b"not to be wiped")
    daemon.ok("pool-refresh", "v")
    stord = stord_of(daemon)
    with subprocess.Popen(
        [VIRSH, "-c", daemon.uri, "vol-wipe", "a.raw", "v"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    ) as virsh:
        until = time.monotonic() + 30
        with (pool / "a.raw").open("rb") as file:
            while os.pread(file.fileno(), 64, 0) != bytes(64):
                assert time.monotonic() < until, "the volume was never wiped"
        os.kill(stord, signal.SIGKILL)
        virsh.communicate(timeout=60)
    assert daemon.ok("vol-list", "v").split()[3::2] == ["a.raw", "b.raw"]
    assert (pool / "b.raw").read_bytes() == b"not to be wiped"
    daemon.ok("vol-wipe", "a.raw", "v")  # it is nobody's any more
    assert not (pool / "a.raw").read_bytes().strip(b"\0")


@pytest.mark.parametrize("work", ["clone", "upload"])
def test_stord_killed_in_the_middle_leaves_no_half_volume(
    daemon: Daemon, pool: Path, work: str
) -> None:
    daemon.ok("vol-create-as", "v", "a.raw", "400M", "--allocation", "0")
    with (pool / "a.raw").open("r+b") as file:
        for _ in range(400):
            file.write(os.urandom(MIB))
    if work == "clone":
        words = ["vol-clone", "a.raw", "b.raw", "--pool", "v"]
    else:
        words = ["vol-upload", "a.raw", "/dev/zero", "--pool", "v", "--length", str(400 * MIB)]
    with subprocess.Popen(
        [VIRSH, "-c", daemon.uri, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as virsh:
        os.kill(stord_of(daemon), signal.SIGKILL)
        virsh.communicate(timeout=60)
    names = daemon.ok("vol-list", "v").split()
    if "b.raw" in names:  # stord died after the rename: the volume is whole
        assert filecmp.cmp(pool / "a.raw", pool / "b.raw", shallow=False)
    else:
        assert work == "upload" or virsh.returncode != 0
    assert [path.name for path in pool.iterdir() if path.name.startswith(".virtvisor")] == []
    assert daemon.ok("vol-info", "a.raw", "v")


def test_sparse_transfers_keep_holes(daemon: Daemon, pool: Path) -> None:
    data, back = pool.parent / "sparse-up", pool.parent / "sparse-down"
    with data.open("wb") as file:
        file.seek(3 * MIB)
        file.write(os.urandom(MIB))
        file.truncate(64 * MIB)
    daemon.ok("vol-create-as", "v", "a.raw", "64M", "--allocation", "0")
    daemon.ok("vol-upload", "a.raw", str(data), "--pool", "v", "--sparse")
    assert (pool / "a.raw").read_bytes() == data.read_bytes()
    assert (pool / "a.raw").stat().st_blocks * 512 <= 2 * MIB
    daemon.ok("vol-download", "a.raw", str(back), "--pool", "v", "--sparse")
    assert back.read_bytes() == data.read_bytes()
    assert back.stat().st_blocks * 512 <= 2 * MIB


def test_a_guest_gets_a_volume_of_a_pool_as_its_disk(daemon: Daemon, pool: Path) -> None:
    daemon.ok("vol-create-as", "v", "disk.qcow2", "16M", "--format", "qcow2")
    document = pool.parent / "guest.xml"
    document.write_text(
        "<domain type='qemu'><name>with-volume</name><memory unit='MiB'>16</memory>"
        "<os><type arch='x86_64' machine='pc'>hvm</type></os><devices>"
        "<disk type='volume' device='disk'><driver name='qemu' type='qcow2'/>"
        "<source pool='v' volume='disk.qcow2'/><target dev='vda' bus='virtio'/></disk>"
        "</devices></domain>"
    )
    daemon.ok("create", str(document))
    try:
        nodes = daemon.ok("qemu-monitor-command", "with-volume", "--hmp", "info block")
        assert f"{pool}/disk.qcow2" in nodes
        live = daemon.ok("dumpxml", "with-volume")
        assert "pool='v' volume='disk.qcow2'" in live
        assert str(pool) not in live
    finally:
        daemon.ok("destroy", "with-volume")
    assert (pool / "disk.qcow2").stat().st_uid == 0  # given back
    document.write_text(document.read_text().replace("disk.qcow2", "none.qcow2"))
    refused = daemon.virsh("create", str(document))
    assert "no storage vol with matching name 'none.qcow2'" in refused.stderr
