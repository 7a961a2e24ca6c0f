"""The guest agent through stock clients: a real guest, whose agent is played by the test.

The tiny guest copies between the agent's port and another one, on which the test answers.
"""

from __future__ import annotations

import json
import socket
import subprocess
import threading
from pathlib import Path
from typing import Any

import pytest

from tests.clients.daemon import Daemon
from tests.clients.domains import booting
from tests.clients.event_watch import Watch
from tests.clients.guest import QEMU_GA, Guest, build_guest
from tests.clients.libvirt_binding import libvirt

LIFECYCLE = libvirt.VIR_DOMAIN_EVENT_ID_AGENT_LIFECYCLE
CONNECTED, DISCONNECTED = 1, 2
DOMAIN_STARTED, CHANNEL = 1, 2
APPEND = libvirt.VIR_DOMAIN_AUTHORIZED_SSH_KEYS_SET_APPEND
REMOVE = libvirt.VIR_DOMAIN_AUTHORIZED_SSH_KEYS_SET_REMOVE
REPLIES: dict[str, object] = {
    "guest-fsfreeze-freeze": 2,
    "guest-fsfreeze-thaw": 2,
    "guest-get-host-name": {"host-name": "web"},
    "guest-get-osinfo": {"id": "debian", "version-id": "12"},
    "guest-get-time": 1_700_000_000_000_000_005,
    "guest-set-time": {},
    "guest-get-fsinfo": [{"name": "vda1", "mountpoint": "/", "type": "ext4", "disk": []}],
    "guest-network-get-interfaces": [
        {
            "name": "eth0",
            "hardware-address": "52:54:00:00:00:01",
            "ip-addresses": [{"ip-address-type": "ipv4", "ip-address": "10.0.0.2", "prefix": 8}],
        }
    ],
}


class PlayedAgent:
    """The agent, at the host's end of the relay."""

    def __init__(self, path: Path) -> None:
        self.silent = False
        self.asked: list[str] = []
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(str(path))
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with self._socket, self._socket.makefile("rb") as lines:
            for line in lines:
                text = line.replace(b"\xff", b"").strip()
                if text and not self.silent:
                    self._socket.sendall(self._reply(json.loads(text)))

    def _reply(self, command: dict[str, Any]) -> bytes:
        name = command["execute"]
        if name == "guest-sync-delimited":
            return b"\xff" + json.dumps({"return": command["arguments"]["id"]}).encode() + b"\n"
        self.asked.append(name)
        if name in REPLIES:
            return json.dumps({"return": REPLIES[name]}).encode() + b"\n"
        error = {"class": "CommandNotFound", "desc": f"The command {name} has not been found"}
        return json.dumps({"error": error}).encode() + b"\n"


@pytest.fixture
def relayed(link: Any, tiny: Guest, tmp_path: Path) -> tuple[Any, PlayedAgent]:
    """A running guest with its agent."""
    path = tmp_path / "relay"
    tmp_path.chmod(0o777)
    channels = (
        "<channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>"
        f"<channel type='unix'><source mode='bind' path='{path}'/>"
        "<target type='virtio' name='test.relay.0'/></channel>"
    )
    watch = Watch(link, LIFECYCLE)
    domain = link.createXML(booting("web", tiny, devices=channels, then="relay"))
    watch.expect("web", DISCONNECTED, DOMAIN_STARTED)
    agent = PlayedAgent(path)
    watch.expect("web", CONNECTED, CHANNEL)
    watch.close()
    return domain, agent


def check_quiesced(domain: Any, agent: PlayedAgent, image: Path) -> None:
    """File systems are frozen while a checkpoint or a snapshot of a disk is made."""
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", image, "1M"], check=True)
    domain.attachDevice(
        "<disk type='file' device='disk'><driver name='qemu' type='qcow2'/>"
        f"<source file='{image}'/><target dev='vda' bus='virtio'/></disk>"
    )
    domain.checkpointCreateXML("<domaincheckpoint/>", libvirt.VIR_DOMAIN_CHECKPOINT_CREATE_QUIESCE)
    once = ["guest-fsfreeze-freeze", "guest-fsfreeze-thaw"]
    assert agent.asked == once
    disk_only = libvirt.VIR_DOMAIN_SNAPSHOT_CREATE_DISK_ONLY
    domain.snapshotCreateXML(
        "<domainsnapshot/>", disk_only | libvirt.VIR_DOMAIN_SNAPSHOT_CREATE_QUIESCE
    )
    assert agent.asked == once * 2


def test_clients_reach_the_agent_of_a_real_guest(
    daemon: Daemon, relayed: tuple[Any, PlayedAgent], tmp_path: Path
) -> None:
    domain, agent = relayed
    check_quiesced(domain, agent, tmp_path / "disk.qcow2")
    assert domain.fsFreeze() == domain.fsThaw() == 2
    assert domain.hostname() == "web"
    assert domain.getTime() == {"seconds": 1_700_000_000, "nseconds": 5}
    domain.setTime({"seconds": 1, "nseconds": 0})  # and QEMU's rtc-reset-reinjection after it
    assert domain.guestInfo() == {
        "os.id": "debian", "os.version-id": "12", "hostname": "web",
        "fs.count": 1, "fs.0.name": "vda1", "fs.0.mountpoint": "/", "fs.0.fstype": "ext4",
        "fs.0.disk.count": 0, "if.count": 1, "if.0.name": "eth0",
        "if.0.hwaddr": "52:54:00:00:00:01", "if.0.addr.count": 1, "if.0.addr.0.type": "ipv4",
        "if.0.addr.0.addr": "10.0.0.2", "if.0.addr.0.prefix": 8,
    }  # fmt: skip
    assert "10.0.0.2/8" in daemon.ok("domifaddr", "web", "--source", "agent")
    assert daemon.ok("domfsfreeze", "web").split()[1] == "2"
    with pytest.raises(libvirt.libvirtError, match="guest-set-user-password"):
        domain.setUserPassword("root", "x")
    agent.silent = True
    domain.agentSetResponseTimeout(1)
    with pytest.raises(libvirt.libvirtError, match="respond to synchronization") as late:
        domain.fsThaw()
    assert late.value.get_error_code() == libvirt.VIR_ERR_AGENT_UNRESPONSIVE
    agent.silent = False
    assert domain.fsThaw() == 2
    domain.suspend()
    with pytest.raises(libvirt.libvirtError) as paused:
        domain.fsFreeze()
    assert paused.value.get_error_code() == libvirt.VIR_ERR_OPERATION_INVALID


@pytest.mark.skipif(not QEMU_GA.exists(), reason="no qemu-guest-agent is installed")
def test_the_real_agent(link: Any, tmp_path: Path) -> None:
    guest = build_guest(tmp_path, with_agent=True)
    watch = Watch(link, LIFECYCLE)
    channel = "<channel type='unix'><target type='virtio' name='org.qemu.guest_agent.0'/></channel>"
    domain = link.createXML(booting("web", guest, devices=channel, then="agent"))
    watch.wait_for("web", CONNECTED, CHANNEL)
    info = domain.guestInfo()
    assert info["hostname"] == "tiny"
    assert info["os.id"] == "tiny"
    assert info["timezone.offset"] == 0
    assert info["if.0.name"] == "lo"
    assert domain.fsFreeze() == domain.fsThaw() == 0  # an initramfs has nothing to freeze
    assert domain.fsInfo() == []
    assert domain.getTime()["seconds"] > 1_600_000_000
    assert domain.authorizedSSHKeysSet("root", ["ssh-ed25519 AAAA a"]) == 0
    assert domain.authorizedSSHKeysSet("root", ["ssh-rsa BBBB b"], APPEND) == 0
    assert domain.authorizedSSHKeysSet("root", ["ssh-ed25519 AAAA a"], REMOVE) == 0
    assert domain.authorizedSSHKeysGet("root") == ["ssh-rsa BBBB b"]
    with pytest.raises(libvirt.libvirtError, match="guest-set-user-password"):
        domain.setUserPassword("root", "x")  # the guest has no passwd(1)
    domain.pMSuspendForDuration(libvirt.VIR_NODE_SUSPEND_TARGET_MEM, 0)
    assert domain.state()[0] == libvirt.VIR_DOMAIN_PMSUSPENDED
    domain.pMWakeup()
    watch.wait_for("web", CONNECTED, CHANNEL)  # the kernel opens its ports again
    assert domain.hostname() == "tiny"
    watch.close()
