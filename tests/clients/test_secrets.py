"""Secrets through stock virsh and the stock binding."""

from __future__ import annotations

import base64
import json
import os
import queue
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.clients.daemon import Daemon
from tests.clients.domains import idle
from tests.clients.event_watch import EVENT_S, EventLoop, wait_until
from tests.clients.libvirt_binding import libvirt
from tests.paths import SHARED

UUID = "22e1353d-c27e-4d6d-bf15-465053e6ba0b"
OTHER = "f52a81b2-424e-490c-823d-6bd4235bc572"
VALUE = b"a value that nobody else has: \x00\xff"
CORPUS = SHARED / "corpus/secret.jsonl"


def document(uuid: str = UUID, usage: str = "", **flags: str) -> str:
    attributes = "".join(f" {name}='{value}'" for name, value in flags.items())
    return f"<secret{attributes}><uuid>{uuid}</uuid>{usage}</secret>"


def volume(path: str) -> str:
    return f"<usage type='volume'><volume>{path}</volume></usage>"


@pytest.fixture
def connection(daemon: Daemon) -> Iterator[Any]:
    """A connection whose daemon has no secrets, before and after."""
    EventLoop.start()
    link = libvirt.open(daemon.uri)
    yield link
    for secret in link.listAllSecrets():
        secret.undefine()
    assert list(daemon.root.glob("etc/libvirt/secrets/*")) == []
    link.close()


def refusal(call: Callable[[], object]) -> tuple[int, str]:
    with pytest.raises(libvirt.libvirtError) as refused:
        call()
    return refused.value.get_error_code(), refused.value.get_error_message()


def test_virsh_defines_fills_reads_lists_and_undefines(
    daemon: Daemon, connection: Any, tmp_path: Path
) -> None:
    xml = tmp_path / "secret.xml"
    xml.write_text(document(usage=volume("/images/one")))
    assert f"Secret {UUID} created" in daemon.ok("secret-define", str(xml))
    encoded = base64.b64encode(VALUE).decode()
    daemon.ok("secret-set-value", UUID, encoded)
    assert daemon.ok("secret-get-value", UUID).strip() == encoded
    assert UUID in daemon.ok("secret-list")
    assert "/images/one" in daemon.ok("secret-list", "--no-private", "--no-ephemeral")
    assert UUID not in daemon.ok("secret-list", "--private")
    assert "<volume>/images/one</volume>" in daemon.ok("secret-dumpxml", UUID)
    daemon.ok("secret-undefine", UUID)
    assert UUID not in daemon.ok("secret-list")


def test_what_lies_on_disk_is_root_s_alone_and_goes_with_the_secret(
    daemon: Daemon, connection: Any
) -> None:
    secret = connection.secretDefineXML(document())
    secret.setValue(VALUE)
    folder = daemon.root / "etc/libvirt/secrets"
    assert {path.name for path in folder.iterdir()} == {f"{UUID}.xml", f"{UUID}.base64"}
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}
    assert folder.stat().st_mode & 0o777 == 0o700
    assert base64.b64decode((folder / f"{UUID}.base64").read_bytes()) == VALUE
    secret.undefine()
    assert list(folder.iterdir()) == []


def test_ephemeral_secrets_never_touch_the_disk(daemon: Daemon, connection: Any) -> None:
    secret = connection.secretDefineXML(document(ephemeral="yes"))
    secret.setValue(VALUE)
    assert secret.value() == VALUE
    assert list(daemon.root.glob("etc/libvirt/secrets/*")) == []
    connection.secretDefineXML(document(ephemeral="no"))
    assert (daemon.root / f"etc/libvirt/secrets/{UUID}.base64").exists()
    connection.secretDefineXML(document(ephemeral="yes"))
    assert list(daemon.root.glob("etc/libvirt/secrets/*")) == []
    assert secret.value() == VALUE


def test_private_values_are_told_to_no_client(connection: Any) -> None:
    secret = connection.secretDefineXML(document(private="yes"))
    secret.setValue(VALUE)
    code, message = refusal(secret.value)
    assert (code, message) == (libvirt.VIR_ERR_INVALID_SECRET, "Invalid secret: secret is private")
    code, message = refusal(lambda: connection.secretDefineXML(document(private="no")))
    assert code == libvirt.VIR_ERR_INTERNAL_ERROR
    assert "cannot change private flag on existing secret" in message


def test_read_only_clients_see_documents_but_no_value_and_change_nothing(
    daemon: Daemon, connection: Any
) -> None:
    connection.secretDefineXML(document()).setValue(VALUE)
    link = libvirt.openReadOnly(daemon.read_only_uri)
    secret = link.secretLookupByUUIDString(UUID)
    assert UUID in secret.XMLDesc(0)
    for call in (
        secret.value,
        secret.undefine,
        lambda: secret.setValue(b"x"),
        lambda: link.secretDefineXML(document(OTHER)),
    ):
        code, message = refusal(call)
        assert code == libvirt.VIR_ERR_OPERATION_DENIED
        assert "read only access prevents virSecret" in message
    link.close()


def test_lookups_lists_and_filters(connection: Any) -> None:
    connection.secretDefineXML(document(usage=volume("/images/one"), private="yes"))
    connection.secretDefineXML(document(OTHER, ephemeral="yes"))
    assert connection.numOfSecrets() == 2
    assert set(connection.listSecrets()) == {UUID, OTHER}
    found = connection.secretLookupByUsage(libvirt.VIR_SECRET_USAGE_TYPE_VOLUME, "/images/one")
    assert (found.UUIDString(), found.usageType(), found.usageID()) == (UUID, 1, "/images/one")
    filters = {0: {UUID, OTHER}, 1: {OTHER}, 2: {UUID}, 3: {UUID, OTHER}, 4: {UUID}, 8: {OTHER}}
    for flags, wanted in {**filters, 5: set()}.items():
        assert {s.UUIDString() for s in connection.listAllSecrets(flags)} == wanted, flags
    code, message = refusal(lambda: connection.secretLookupByUsage(1, "/images/two"))
    assert (code, message) == (66, "Secret not found: no secret with matching usage '/images/two'")
    gone = "22e1353d-c27e-4d6d-bf15-465053e6ffff"
    code, message = refusal(lambda: connection.secretLookupByUUIDString(gone))
    assert (code, message) == (66, f"Secret not found: no secret with matching uuid '{gone}'")
    assert refusal(lambda: connection.listAllSecrets(16))[0] == libvirt.VIR_ERR_INVALID_ARG


def test_refused_definitions_change_nothing(connection: Any) -> None:
    secret = connection.secretDefineXML(document(usage=volume("/images/one")))
    before = secret.XMLDesc(0)
    for xml, words in (
        (document(OTHER, volume("/images/one")), f"a secret with UUID {UUID} already defined"),
        (document(usage=volume("/images/two")), "is already defined for use with /images/one"),
        ("<secret><usage type='zz'/></secret>", "unknown secret usage type zz"),
        ("<secret><usage type='ceph'/></secret>", "name is missing"),
        ("no document", "Start tag expected"),
    ):
        assert words in refusal(partial(connection.secretDefineXML, xml))[1]
    assert (secret.XMLDesc(0), connection.numOfSecrets()) == (before, 1)
    assert "does not have a value" in refusal(secret.value)[1]


class SecretWatch:
    """Every event of a connection's secrets, in order."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._queue: queue.Queue[tuple[Any, ...]] = queue.Queue()
        self._numbers = [
            connection.secretEventRegisterAny(None, event, self._arrived, None)
            for event in (
                libvirt.VIR_SECRET_EVENT_ID_LIFECYCLE,
                libvirt.VIR_SECRET_EVENT_ID_VALUE_CHANGED,
            )
        ]

    def _arrived(self, _connection: Any, secret: Any, *details: Any) -> None:
        self._queue.put((secret.UUIDString(), *details[:-1]))

    def expect(self, *event: Any) -> None:
        assert self._queue.get(timeout=EVENT_S) == event

    def close(self) -> None:
        for number in self._numbers:
            self._connection.secretEventDeregisterAny(number)


def test_events_tell_of_definitions_values_and_ends(connection: Any) -> None:
    watch = SecretWatch(connection)
    secret = connection.secretDefineXML(document())
    watch.expect(UUID, libvirt.VIR_SECRET_EVENT_DEFINED, 0)
    secret.setValue(VALUE)
    watch.expect(UUID)
    secret.undefine()
    watch.expect(UUID, libvirt.VIR_SECRET_EVENT_UNDEFINED, 0)
    watch.close()


@pytest.mark.skipif(not CORPUS.exists(), reason="the measured answers of stock are not here")
def test_documents_come_back_as_from_stock(connection: Any) -> None:
    with CORPUS.open(encoding="utf-8") as lines:
        for line in lines:
            case = json.loads(line)
            secret = connection.secretDefineXML(case["input"])
            assert secret.XMLDesc(0) == case["output"], case["name"]
            secret.undefine()


def test_secrets_outlive_hostd_and_no_value_is_in_the_log(daemon: Daemon, connection: Any) -> None:
    value = b"spoken-to-nobody"
    kept = connection.secretDefineXML(document(private="no"))
    kept.setValue(value)
    connection.secretDefineXML(document(OTHER, ephemeral="yes")).setValue(value)
    row = next(row for row in daemon.status() if row["name"] == "hostd")
    os.kill(int(row["pid"]), signal.SIGKILL)

    def answers() -> bool:
        try:
            return bool(kept.value() == value)
        except libvirt.libvirtError:
            return False

    wait_until("hostd to be back", answers)
    assert connection.listSecrets() == [UUID]  # the ephemeral one was in hostd's memory alone
    log = daemon.log.read_bytes()
    assert value not in log
    assert base64.b64encode(value) not in log


def encrypted_disk(folder: Path, passphrase: bytes, secret: str) -> str:
    """A LUKS image in a folder that QEMU may enter, as a disk of a guest."""
    image, key = folder / "disk.qcow2", folder / "key"
    key.write_bytes(passphrase)
    options = "encrypt.format=luks,encrypt.key-secret=k,encrypt.iter-time=10"
    command = ["qemu-img", "create", "-q", "-f", "qcow2", "--object", f"secret,id=k,file={key}"]
    for _ in range(30):  # it measures the processor, and cannot within a tick of its time
        done = subprocess.run(
            [*command, "-o", options, str(image), "1M"],
            capture_output=True,
            timeout=30,
            check=False,
        )
        if b"accurate CPU usage" not in done.stderr:
            break
        time.sleep(0.02)
    assert done.returncode == 0, done.stderr
    return (
        f"<disk type='file' device='disk'><driver name='qemu' type='qcow2'/><source file='{image}'>"
        f"<encryption format='luks'><secret type='passphrase' {secret}/></encryption></source>"
        "<target dev='vda' bus='virtio'/></disk>"
    )


@pytest.fixture
def folder(daemon: Daemon) -> Iterator[Path]:
    """A folder that QEMU's user may enter, away from the daemon's own."""
    made = daemon.root / "images"
    made.mkdir()
    made.chmod(0o755)
    yield made
    shutil.rmtree(made)


@pytest.mark.skipif(shutil.which("qemu-img") is None, reason="qemu-img is not installed")
@pytest.mark.parametrize("named", [f"uuid='{UUID}'", "usage='the disk'"])
def test_a_guest_starts_from_an_encrypted_disk_with_its_secret_and_not_without(
    daemon: Daemon, connection: Any, folder: Path, named: str
) -> None:
    passphrase = b"open-sesame"
    guest = connection.defineXML(idle("locked", devices=encrypted_disk(folder, passphrase, named)))
    code, message = refusal(guest.create)
    assert code == libvirt.VIR_ERR_NO_SECRET
    assert "no secret with matching u" in message
    secret = connection.secretDefineXML(document(usage=volume("the disk"), private="yes"))
    code, message = refusal(guest.create)
    assert (code, "does not have a value" in message) == (libvirt.VIR_ERR_NO_SECRET, True)
    secret.setValue(b"open-barley")
    assert refusal(guest.create)[0] == libvirt.VIR_ERR_INTERNAL_ERROR
    assert list(daemon.emulators()) == []
    secret.setValue(passphrase)
    guest.create()
    (pid,) = daemon.emulators()
    assert passphrase not in Path(f"/proc/{pid}/cmdline").read_bytes()
    assert passphrase not in daemon.log.read_bytes()
    guest.destroy()
    guest.undefine()


@pytest.mark.skipif(shutil.which("qemu-img") is None, reason="qemu-img is not installed")
def test_a_secret_for_something_else_opens_no_disk(
    daemon: Daemon, connection: Any, folder: Path
) -> None:
    usage = "<usage type='ceph'><name>cluster</name></usage>"
    connection.secretDefineXML(document(usage=usage)).setValue(b"key")
    disk = encrypted_disk(folder, b"key", f"uuid='{UUID}'")
    guest = connection.defineXML(idle("locked", devices=disk))
    code, message = refusal(guest.create)
    assert code == libvirt.VIR_ERR_INVALID_ARG
    assert f"secret with uuid {UUID} is of type 'ceph' not expected 'volume' type" in message
    guest.undefine()


@pytest.mark.skipif(shutil.which("qemu-img") is None, reason="qemu-img is not installed")
def test_an_encrypted_disk_that_comes_later_is_opened_with_its_secret(
    connection: Any, folder: Path
) -> None:
    disk = encrypted_disk(folder, b"open-sesame", f"uuid='{UUID}'")
    guest = connection.createXML(idle("later"), libvirt.VIR_DOMAIN_START_PAUSED)
    assert refusal(partial(guest.attachDevice, disk))[0] == libvirt.VIR_ERR_NO_SECRET
    assert "vda" not in guest.XMLDesc(0)
    connection.secretDefineXML(document(private="yes")).setValue(b"open-sesame")
    guest.attachDevice(disk)
    live = guest.XMLDesc(0)
    assert ("<encryption format='luks'" in live, f"uuid='{UUID}'" in live) == (True, True)
    guest.destroy()
