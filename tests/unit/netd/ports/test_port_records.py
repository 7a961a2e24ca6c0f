"""Records of interfaces and files of networks survive a restart."""

from __future__ import annotations

from pathlib import Path

from supervisor.netd.network.files import NetworkFiles
from supervisor.netd.ports.devices import peer_name
from supervisor.netd.ports.records import PortRecord, PortRecords
from supervisor.runtime.paths import Paths


def record(device: str, uuid: str = "u") -> PortRecord:
    return PortRecord(
        device=device, kind="tap", domain="d", uuid=uuid, mac="", interface="<interface/>"
    )


def test_records_are_loaded_and_names_are_not_reused(tmp_path: Path) -> None:
    first = PortRecords(tmp_path)
    names = [first.next_name("vnet") for _ in range(3)]
    assert names == ["vnet0", "vnet1", "vnet2"]
    first.save(record("vnet2"))
    first.save(record("own", "other"))
    (tmp_path / ".half.json.new").write_text("{")
    (tmp_path / "broken.json").write_text("{")
    again = PortRecords(tmp_path)
    assert [each.device for each in again.for_domain("u")] == ["vnet2"]
    assert again.next_name("vnet") == "vnet3"
    assert again.next_name("macvtap") == "macvtap0"
    again.remove("vnet2")
    again.remove("vnet2")
    assert [each.device for each in PortRecords(tmp_path)] == ["own"]


def test_generated_names_wrap_at_15_bytes(tmp_path: Path) -> None:
    records = PortRecords(tmp_path)
    records.save(record("macvtap99999999"))
    assert records.next_name("macvtap") == "macvtap0"


def test_definitions_autostart_and_status_are_loaded(tmp_path: Path) -> None:
    store = NetworkFiles(Paths.system(tmp_path))
    store.save("one", "<network><name>one</name></network>\n")
    store.set_autostart("one", on=True)
    store.set_autostart("one", on=True)
    store.save_status("one", "<networkstatus/>\n")
    store.save_port("one", "p", "<networkport/>\n")
    again = NetworkFiles(Paths.system(tmp_path))
    [stored] = again.load()
    assert (stored.name, stored.autostart) == ("one", True)
    assert "<name>one</name>" in stored.xml
    assert [state.name for state in again.load_status()] == ["one"]
    assert [port.name for port in again.ports("one")] == ["p"]
    again.remove_status("one")
    assert again.load_status() == again.ports("one") == []
    again.remove("one")
    assert again.load() == []
    assert not list((tmp_path / "etc/libvirt/qemu/networks/autostart").iterdir())


def test_dangling_autostart_link_is_removed(tmp_path: Path) -> None:
    store = NetworkFiles(Paths.system(tmp_path))
    store.set_autostart("gone", on=True)
    assert store.load() == []
    assert not list((tmp_path / "etc/libvirt/qemu/networks/autostart").iterdir())


def test_veth_peer_names_differ_and_fit() -> None:
    for name in ("vnet0", "a" * 14, "a" * 15):
        peer = peer_name(name)
        assert peer != name
        assert len(peer) <= 15
