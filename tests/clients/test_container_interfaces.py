"""Each type of <interface>, host netdevs, block devices and shared namespaces of containers."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.clients.container_daemon import Boxes, boxes
from tests.clients.containers import container
from tests.clients.event_watch import Watch, wait_until
from tests.clients.libvirt_binding import libvirt

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="containers take root's rights")


#: A network of its own, with nothing in it.
PRIVATE = "<features><privnet/></features>"


def ip(*words: str) -> str:
    """What ip(8) says in the daemon's network."""
    done = subprocess.run(["ip", *words], capture_output=True, text=True, check=True, timeout=20)
    return done.stdout


def links() -> set[str]:
    """The network devices of the daemon's host."""
    return {line.split(": ")[1].partition("@")[0] for line in ip("-o", "link").splitlines()}


@pytest.fixture(scope="module")
def box() -> Iterator[Boxes]:
    with boxes() as held:
        ip("link", "add", "host0", "type", "veth", "peer", "name", "far0")
        ip("link", "add", "br-plain", "type", "bridge")
        ip("addr", "add", "10.92.0.1/24", "dev", "br-plain")
        for name in ("host0", "far0", "br-plain"):
            ip("link", "set", name, "up")
        yield held


@pytest.fixture(autouse=True)
def every_link_is_back(box: Boxes) -> Iterator[None]:
    before = links()
    yield
    box.end_all()
    wait_until("the host has its previous links", lambda: links() == before)


def run(box: Boxes, name: str, extra: str, features: str = "", **words: Any) -> Any:
    xml = container(name, box.rootfs, extra=extra, **words)
    domain = box.link.defineXML(xml.replace("<devices>", f"{features}<devices>"))
    domain.create()
    return domain


def test_a_bridge_interface_reaches_the_host(box: Boxes) -> None:
    interface = (
        "<interface type='bridge'><source bridge='br-plain'/><target dev='boxcard'/>"
        "<guest dev='lan'/><ip address='10.92.0.5' family='ipv4' prefix='24'/></interface>"
    )
    domain = run(box, "bridged", interface)
    assert "master br-plain" in ip("-o", "link", "show", "boxcard")
    assert "lan@" in box.inside("bridged", "/bin/ip", "-o", "link")
    assert "1 packets received" in box.as_root("bridged", "ping -c 1 10.92.0.1")
    assert domain.interfaceStats("boxcard")[0] > 0


def test_an_ethernet_interface_is_a_veth_pair_with_one_end_on_the_host(box: Boxes) -> None:
    interface = (
        "<interface type='ethernet'><target dev='mine'/>"
        "<ip address='10.93.0.5' family='ipv4' prefix='24'/>"
        "<source><ip address='10.93.0.1' family='ipv4' prefix='24'/></source></interface>"
    )
    run(box, "ether", interface)
    assert "mine" in links()
    assert "10.93.0.5/24" in box.inside("ether", "/bin/ip", "addr")


@pytest.mark.parametrize("mode", ["bridge", "vepa", "private", "passthrough"])
def test_a_direct_interface_is_a_macvlan_in_the_container(box: Boxes, mode: str) -> None:
    interface = (
        f"<interface type='direct'><source dev='host0' mode='{mode}'/>"
        "<mac address='52:54:00:00:92:01'/>"
        "<ip address='10.94.0.5' family='ipv4' prefix='24'/></interface>"
    )
    domain = run(box, "direct", interface)
    seen = box.inside("direct", "/bin/ip", "addr")
    assert "52:54:00:00:92:01" in seen
    assert "10.94.0.5/24" in seen
    details = subprocess.run(
        ["ip", "-d", "-o", "link", "show", "eth0"],
        capture_output=True, text=True, check=False, timeout=20,
    )  # fmt: skip
    assert details.returncode != 0  # it is in the container alone
    domain.destroy()


def test_a_direct_interface_is_attached_and_detached_while_a_container_runs(box: Boxes) -> None:
    interface = (
        "<interface type='direct'><source dev='host0' mode='bridge'/>"
        "<mac address='52:54:00:00:92:02'/><mtu size='1300'/></interface>"
    )
    domain = run(box, "comes", "", features=PRIVATE)
    domain.attachDevice(interface)
    seen = box.inside("comes", "/bin/ip", "link")
    assert "52:54:00:00:92:02" in seen
    assert "mtu 1300" in seen
    domain.detachDevice(interface)
    assert "52:54:00:00:92:02" not in box.inside("comes", "/bin/ip", "link")


def test_a_host_netdev_is_moved_into_the_container_and_returned(box: Boxes) -> None:
    device = (
        "<hostdev mode='capabilities' type='net'><source><interface>far0</interface></source>"
        "<ip address='10.95.0.5' family='ipv4' prefix='24'/></hostdev>"
    )
    domain = run(box, "lent", device)
    assert "far0" not in links()
    assert "10.95.0.5/24" in box.inside("lent", "/bin/ip", "addr")
    domain.destroy()
    wait_until("it is back", lambda: "far0" in links())
    domain.create()
    domain.shutdown()
    wait_until("it is off", lambda: not domain.isActive())
    wait_until("it is back", lambda: "far0" in links())


def test_a_host_netdev_is_hotplugged(box: Boxes) -> None:
    device = (
        "<hostdev mode='capabilities' type='net'><source><interface>far0</interface></source>"
        "</hostdev>"
    )
    domain = run(box, "late", "", features=PRIVATE)
    domain.attachDevice(device)
    assert "far0" not in links()
    assert "far0" in box.inside("late", "/bin/ip", "link")
    domain.detachDevice(device)
    assert "far0" in links()
    domain.attachDevice(device)
    domain.destroy()
    wait_until("it is back", lambda: "far0" in links())


def test_a_host_netdev_is_returned_even_if_renamed_inside(box: Boxes) -> None:
    device = (
        "<hostdev mode='capabilities' type='net'><source><interface>far0</interface></source>"
        "</hostdev>"
    )
    address = ip("-o", "link", "show", "far0").partition("link/ether ")[2].split()[0]
    rename = (
        "/bin/ip link set far0 down; /bin/ip link set far0 name hidden; "
        "/bin/ip link add far0 type bridge; /bin/ip link set far0 up"
    )
    domain = run(box, "renames", "", features=PRIVATE)
    domain.attachDevice(device)
    box.as_root("renames", rename)
    domain.detachDevice(device)
    assert address in ip("-o", "link", "show", "far0")
    assert domain.state()[0] == libvirt.VIR_DOMAIN_RUNNING
    assert "far0" in box.inside("renames", "/bin/ip", "link")  # its own, which it keeps
    domain.destroy()
    domain = run(box, "later", "", features=PRIVATE)
    domain.attachDevice(device)
    box.as_root("later", rename)
    domain.destroy()
    wait_until("it is back", lambda: "far0" in links())
    assert address in ip("-o", "link", "show", "far0")


def test_a_block_device_is_mounted_as_a_filesystem(box: Boxes, tmp_path: Path) -> None:
    image = tmp_path / "image"
    with image.open("wb") as file:
        file.truncate(8 << 20)
    subprocess.run(["mkfs.ext4", "-q", str(image)], check=True, timeout=20)
    found = subprocess.run(
        ["losetup", "--find", "--show", str(image)],
        capture_output=True, text=True, check=True, timeout=20,
    )  # fmt: skip
    device = found.stdout.strip()
    (box.rootfs / "mnt/block").mkdir(parents=True, exist_ok=True)
    try:
        run(
            box,
            "blocks",
            f"<filesystem type='block'><source dev='{device}'/><target dir='/mnt/block'/>"
            "</filesystem>",
        )
        assert "lost+found" in box.inside("blocks", "/bin/ls", "/mnt/block")
        box.end_all()
        assert device not in Path("/proc/self/mounts").read_text()
    finally:
        box.end_all()
        subprocess.run(["losetup", "--detach", device], check=True, timeout=20)


def shared(kind: str, value: str, *, of: str = "name") -> str:
    """A namespace of another's."""
    return (
        f"<lxc:namespace xmlns:lxc='http://libvirt.org/schemas/domain/lxc/1.0'>"
        f"<lxc:{kind} type='{of}' value='{value}'/></lxc:namespace>"
    )


def with_namespace(xml: str, element: str) -> str:
    return xml.replace("</domain>", f"{element}</domain>")


def test_namespaces_of_another_container_can_be_shared(box: Boxes) -> None:
    run(box, "first", "<interface type='bridge'><source bridge='br-plain'/><guest dev='lan'/>"
        "</interface>", idmap="")  # fmt: skip
    for kind, name in (("sharenet", "net"), ("shareipc", "ipc"), ("shareuts", "uts")):
        xml = with_namespace(container(name, box.rootfs, idmap=""), shared(kind, "first"))
        domain = box.link.createXML(xml)
        ours = box.inside(name, "/bin/ls", "-l", f"/proc/1/ns/{name}").split()[-1]
        theirs = box.inside("first", "/bin/ls", "-l", f"/proc/1/ns/{name}").split()[-1]
        assert ours == theirs
        domain.destroy()


def test_a_named_network_namespace_of_the_host_can_be_shared(box: Boxes) -> None:
    ip("netns", "add", "vvtest-shared")
    try:
        xml = container("named", box.rootfs, idmap="")
        domain = box.link.createXML(
            with_namespace(xml, shared("sharenet", "vvtest-shared", of="netns"))
        )
        ip("-n", "vvtest-shared", "link", "add", "marker", "type", "bridge")
        assert "marker" in box.inside("named", "/bin/ip", "link")
        domain.destroy()
    finally:
        ip("netns", "del", "vvtest-shared")


@pytest.mark.parametrize(
    ("of", "value"), [("name", "nobody"), ("netns", "nothing"), ("pid", "4194303")]
)
def test_the_error_names_a_missing_namespace(box: Boxes, of: str, value: str) -> None:
    xml = with_namespace(container("alone", box.rootfs, idmap=""), shared("sharenet", value, of=of))
    with pytest.raises(libvirt.libvirtError, match=value):
        box.link.createXML(xml)


def test_a_host_netdev_is_present_after_a_reboot(box: Boxes) -> None:
    device = (
        "<hostdev mode='capabilities' type='net'><source><interface>far0</interface></source>"
        "</hostdev>"
    )
    domain = run(box, "keeps", device, init="/sbin/rebooting")
    watch = Watch(box.link, libvirt.VIR_DOMAIN_EVENT_ID_REBOOT)
    domain.reboot()
    watch.wait_for("keeps")
    watch.close()
    assert "far0" in box.inside("keeps", "/bin/ip", "link")


def test_interface_hotplug_is_refused_in_the_host_s_network_namespace(box: Boxes) -> None:
    domain = run(box, "shares", "")
    for device in (
        "<interface type='bridge'><source bridge='br-plain'/></interface>",
        "<hostdev mode='capabilities' type='net'><source><interface>far0</interface></source>"
        "</hostdev>",
    ):
        with pytest.raises(libvirt.libvirtError, match="privnet") as refused:
            domain.attachDevice(device)
        assert refused.value.get_error_code() == libvirt.VIR_ERR_OPERATION_UNSUPPORTED
