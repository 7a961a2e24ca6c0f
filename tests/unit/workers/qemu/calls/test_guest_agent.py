"""Calls by the guest agent, and what becomes of them when it is silent, dies, lies or floods."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from conf.emulator import EmulatorFacts
from rpc import table as wire_table
from rpc.enums import DomainEventID
from rpc.errors import ErrorCode, VirError
from supervisor.messages.worker import SetAgentTimeout, Suspend
from supervisor.messages.worker_resources import SetAgentVcpus
from supervisor.workers.qemu.agent import guest_agent
from tests.unit.workers.qemu.agent.fake_agent import (
    CONNECTED,
    FakeAgent,
    Refusal,
    agent_of,
    port_changed,
)
from tests.unit.workers.qemu.worker_under_test import WorkerTree, tree_of, until

DISK = (
    "<disk type='file' device='disk'><source file='/nowhere/a'/><target dev='vda' bus='virtio'/>"
    "<address type='pci' domain='0' bus='0' slot='9' function='0'/></disk>"
)
AT_SLOT_9 = {"domain": 0, "bus": 0, "slot": 9, "function": 0}
ADDRESS = {
    "serial": "S1", "bus-type": "virtio", "bus": 0, "unit": 0, "target": 0, "dev": "/dev/vda1",
    "pci-controller": AT_SLOT_9,
}  # fmt: skip
INFO: dict[str, Any] = {
    "guest-get-users": [
        {"user": "alice", "login-time": 1.5, "domain": "CORP"},
        {"user": "bob", "login-time": 2},
    ],
    "guest-get-osinfo": {"id": "debian", "pretty-name": "Debian 12", "kernel-release": "6.1"},
    "guest-get-timezone": {"zone": "CET", "offset": 3600},
    "guest-get-host-name": {"host-name": "web"},
    "guest-get-fsinfo": [
        {"name": "vda2", "mountpoint": "/srv", "type": "xfs", "disk": []},
        {
            "name": "vda1", "mountpoint": "/", "type": "ext4", "disk": [ADDRESS],
            "used-bytes": 10, "total-bytes": 1 << 40,
        },
    ],
    "guest-get-disks": [
        {"name": "/dev/vda", "partition": False, "address": ADDRESS, "dependencies": []},
        {"name": "/dev/dm-0", "partition": True, "dependencies": ["/dev/vda"], "alias": "root"},
    ],
    "guest-network-get-interfaces": [
        {
            "name": "eth0", "hardware-address": "52:54:00:00:00:01",
            "ip-addresses": [{"ip-address-type": "ipv4", "ip-address": "10.0.0.2", "prefix": 24}],
        },
        {
            "name": "eth0:1",
            "ip-addresses": [{"ip-address-type": "ipv6", "ip-address": "fe80::1", "prefix": 64}],
        },
    ],
}  # fmt: skip


@asynccontextmanager
async def domain_with_agent(
    folder: Path, facts: EmulatorFacts, devices: str = ""
) -> AsyncIterator[tuple[WorkerTree, FakeAgent]]:
    """A running domain whose agent has opened its channel."""
    async with tree_of(folder, facts) as tree:
        tree.script(CONNECTED)
        await tree.start(devices)
        async with agent_of(tree) as agent:
            await until(lambda: len(agent_states(tree)) == 2)
            yield tree, agent


def agent_states(tree: WorkerTree) -> list[tuple[int, int]]:
    """The states and reasons of the agent that clients were told."""
    decode = wire_table.load().named("domain_event_callback_agent_lifecycle").decode_args
    lifecycle = DomainEventID.AGENT_LIFECYCLE
    payloads = [event.payload for event in tree.forwarded if event.event_id == lifecycle]
    return [decode(bytes(4) + payload)[-2:] for payload in payloads]


async def refusal(tree: WorkerTree, name: str, *arguments: object) -> VirError:
    """The error of a call that must fail."""
    with pytest.raises(VirError) as refused:
        await tree.call(name, *arguments)
    return refused.value


async def test_file_systems_are_frozen_thawed_and_trimmed(
    tmp_path: Path, emulator_facts: EmulatorFacts
) -> None:
    async with domain_with_agent(tmp_path, emulator_facts) as (tree, agent):
        agent.returns = {
            "guest-fsfreeze-freeze": 3,
            "guest-fsfreeze-freeze-list": lambda arguments: len(arguments["mountpoints"]),
            "guest-fsfreeze-thaw": 3,
            "guest-fstrim": {"paths": []},
        }
        assert await tree.call("domain_fsfreeze", [], 0) == 3
        assert await tree.call("domain_fsfreeze", ["/", "/srv"], 0) == 2
        assert await tree.call("domain_fsthaw", [], 0) == 3
        await tree.call("domain_fstrim", None, 4096, 0)
        assert agent.asked[-1] == ("guest-fstrim", {"minimum": 4096})
        agent.returns["guest-fsfreeze-freeze"] = -1
        lie = await refusal(tree, "domain_fsfreeze", [], 0)
        assert lie.code is ErrorCode.INTERNAL_ERROR


async def test_the_guest_is_told_which_of_its_processors_to_use(
    tmp_path: Path, emulator_facts: EmulatorFacts
) -> None:
    online = {0: True, 1: True, 2: False}

    def listed(_: dict[str, Any]) -> list[dict[str, Any]]:
        return [
            {"logical-id": number, "online": state, "can-offline": number > 0}
            for number, state in online.items()
        ]

    def set_first(arguments: dict[str, Any]) -> int:
        wanted = arguments["vcpus"][0]  # one at a time, as a guest that is slow may do
        online[wanted["logical-id"]] = wanted["online"]
        return 1

    async with domain_with_agent(tmp_path, emulator_facts) as (tree, agent):
        agent.returns = {"guest-get-vcpus": listed, "guest-set-vcpus": set_first}
        params = await tree.call("domain_get_guest_vcpus", 0)
        sets = {field: value for field, (_, value) in params}
        assert sets == {"vcpus": "0-2", "online": "0-1", "offlinable": "1-2"}
        await tree.worker.call(SetAgentVcpus(count=1))
        assert online == {0: True, 1: False, 2: False}
        await tree.call("domain_set_guest_vcpus", "1-2", 1, 0)
        assert online == {0: True, 1: True, 2: True}
        for cpumap, state, words in (
            ("0", 0, "vCPU '0' is not offlinable"),
            ("5", 1, "guest is missing vCPUs '5'"),
            ("x", 1, "Failed to parse bitmap 'x'"),
            ("1", 7, "unsupported state value"),
        ):
            refused = await refusal(tree, "domain_set_guest_vcpus", cpumap, state, 0)
            assert refused.code is ErrorCode.INVALID_ARG
            assert words in refused.detail
        agent.returns["guest-set-vcpus"] = 40  # more than it was asked for
        lie = await refusal(tree, "domain_set_guest_vcpus", "1", 0, 0)
        assert lie.code is ErrorCode.INTERNAL_ERROR


async def test_guest_info_has_all_that_the_agent_tells(
    tmp_path: Path, emulator_facts: EmulatorFacts
) -> None:
    async with domain_with_agent(tmp_path, emulator_facts) as (tree, agent):
        agent.returns = dict(INFO)
        params = {
            field: value for field, (_, value) in await tree.call("domain_get_guest_info", 0, 0)
        }
        assert params["user.count"] == 2
        assert (params["user.0.domain"], params["user.0.login-time"]) == ("CORP", 1500)
        assert "user.1.domain" not in params
        assert params["os.pretty-name"] == "Debian 12"
        assert "os.variant" not in params
        assert (params["timezone.name"], params["timezone.offset"]) == ("CET", 3600)
        assert params["hostname"] == "web"
        assert [params[f"fs.{number}.mountpoint"] for number in (0, 1)] == ["/", "/srv"]
        assert (params["fs.0.total-bytes"], params["fs.0.disk.0.device"]) == (1 << 40, "/dev/vda1")
        assert "fs.1.total-bytes" not in params
        assert params["disk.1.dependency.0.name"] == "/dev/vda"
        assert (params["disk.0.serial"], params["disk.1.guest_alias"]) == ("S1", "root")
        assert (params["if.count"], params["if.0.addr.count"]) == (1, 2)
        assert params["if.0.addr.1.type"] == "ipv6"


async def test_a_type_that_the_agent_lacks_is_an_error_only_when_it_was_asked_for(
    tmp_path: Path, emulator_facts: EmulatorFacts
) -> None:
    async with domain_with_agent(tmp_path, emulator_facts) as (tree, agent):
        agent.returns = {"guest-get-host-name": {"host-name": "web"}}
        params = await tree.call("domain_get_guest_info", 0, 0)
        assert [field for field, _ in params] == ["hostname"]
        lacking = await refusal(tree, "domain_get_guest_info", 1, 0)
        assert "guest-get-users" in lacking.detail


async def test_passwords_and_keys_are_set_in_the_guest(
    tmp_path: Path, emulator_facts: EmulatorFacts
) -> None:
    async with domain_with_agent(tmp_path, emulator_facts) as (tree, agent):
        agent.returns = {
            "guest-set-user-password": {},
            "guest-ssh-get-authorized-keys": {"keys": ["ssh-ed25519 A", "ssh-rsa B"]},
            "guest-ssh-add-authorized-keys": {},
            "guest-ssh-remove-authorized-keys": {},
        }
        await tree.call("domain_set_user_password", "root", "sécret", 1)
        name, arguments = agent.asked[-1]
        assert (name, arguments["crypted"]) == ("guest-set-user-password", True)
        assert base64.b64decode(arguments["password"]).decode() == "sécret"
        keys = await tree.call("domain_authorized_ssh_keys_get", "root", 0)
        assert keys == ["ssh-ed25519 A", "ssh-rsa B"]
        set_keys = "domain_authorized_ssh_keys_set"
        for flags, command, reset in (
            (0, "guest-ssh-add-authorized-keys", True),
            (1, "guest-ssh-add-authorized-keys", False),
            (2, "guest-ssh-remove-authorized-keys", None),
        ):
            await tree.call(set_keys, "root", ["ssh-rsa C"], flags)
            assert agent.asked[-1][0] == command
            assert agent.asked[-1][1].get("reset") == reset


async def test_the_agent_that_goes_ends_the_call_that_waits_for_it(
    tmp_path: Path, emulator_facts: EmulatorFacts
) -> None:
    async with domain_with_agent(tmp_path, emulator_facts) as (tree, agent):
        agent.silent = {"guest-fsfreeze-freeze"}
        frozen = asyncio.create_task(tree.call("domain_fsfreeze", [], 0))
        await agent.heard.wait()
        tree.script({"system_reset": [], "query-status": [port_changed(is_open=False)]})
        await tree.call("domain_monitor_command", '{"execute": "query-status"}', 0)
        with pytest.raises(VirError, match="disappeared") as gone:
            await frozen
        assert gone.value.code is ErrorCode.AGENT_UNRESPONSIVE
        assert agent_states(tree) == [(2, 1), (1, 2), (2, 2)]
        left = await refusal(tree, "domain_fsthaw", [], 0)
        assert "not connected" in left.detail


async def test_a_silent_agent_costs_no_more_than_the_timeout_that_was_set(
    tmp_path: Path, emulator_facts: EmulatorFacts
) -> None:
    async with domain_with_agent(tmp_path, emulator_facts) as (tree, agent):
        agent.silent = {"guest-fsfreeze-freeze"}
        await tree.worker.call(SetAgentTimeout(timeout=0))
        late = await refusal(tree, "domain_fsfreeze", [], 0)
        assert late.code is ErrorCode.AGENT_UNRESPONSIVE
        assert "respond to command" in late.detail
        agent.silent = {"guest-sync-delimited"}
        unsynced = await refusal(tree, "domain_fsfreeze", [], 0)
        assert "respond to synchronization" in unsynced.detail
        agent.silent, agent.returns = set(), {"guest-fsfreeze-freeze": 1}
        assert await tree.call("domain_fsfreeze", [], 0) == 1  # it is none the worse for it


async def test_commands_wait_for_one_another(tmp_path: Path, emulator_facts: EmulatorFacts) -> None:
    async with domain_with_agent(tmp_path, emulator_facts) as (tree, agent):
        agent.returns = {"guest-get-time": 5, "guest-get-host-name": {"host-name": "web"}}
        results = await asyncio.gather(
            *(tree.call("domain_get_time", 0) for _ in range(8)),
            *(tree.call("domain_get_hostname", 0) for _ in range(8)),
        )
        assert results == [(0, 5)] * 8 + ["web"] * 8


async def test_the_channel_stays_open_between_commands_and_is_opened_anew(
    tmp_path: Path, emulator_facts: EmulatorFacts, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with domain_with_agent(tmp_path, emulator_facts) as (tree, agent):
        agent.returns = dict(INFO)
        await tree.call("domain_get_guest_info", 0, 0)
        await tree.call("domain_get_hostname", 0)
        assert agent.connections == 1
        agent.end_connections()  # as QEMU's, which nobody is told of
        assert await tree.call("domain_get_hostname", 0) == "web"
        assert agent.connections == 2
        agent.silent = {"guest-get-host-name"}
        await tree.worker.call(SetAgentTimeout(timeout=0))
        await refusal(tree, "domain_get_hostname", 0)
        agent.silent = set()
        monkeypatch.setattr(guest_agent, "IDLE_S", 0.0)
        assert await tree.call("domain_get_hostname", 0) == "web"
        assert await tree.call("domain_get_hostname", 0) == "web"
        assert agent.connections == 4  # after a lost reply, and after idleness


LIES = {
    "a flood": b'{"return": "' + b"x" * (11 << 20),
    "no JSON": b"nonsense\n",
    "nested": b'{"return": ' + b"[" * 10_000 + b"\n",
    "another type": b'{"return": {"keys": 7}}\n',
    "many": b'{"return": [' + b"{}," * 400_000 + b"{}]}\n",
    "a huge error": b'{"error": {"class": "X", "desc": "' + b"y" * 100_000 + b'"}}\n',
}


@pytest.mark.parametrize("lie", LIES)
async def test_whatever_the_agent_sends_the_worker_refuses_it(
    lie: str, tmp_path: Path, emulator_facts: EmulatorFacts
) -> None:
    async with domain_with_agent(tmp_path, emulator_facts) as (tree, agent):
        agent.raw = LIES[lie]
        for name, arguments in (
            ("domain_authorized_ssh_keys_get", ("root", 0)),
            ("domain_get_guest_info", (1, 0)),
            ("domain_get_fsinfo", (0,)),
            ("domain_interface_addresses", (1, 0)),
        ):
            refused = await refusal(tree, name, *arguments)
            assert refused.code in (ErrorCode.INTERNAL_ERROR, ErrorCode.AGENT_UNSYNCED)
            assert len(refused.detail) < 4000
        agent.raw, agent.returns = None, {"guest-get-host-name": {"host-name": "web"}}
        assert await tree.call("domain_get_hostname", 0) == "web"


async def test_a_reply_without_result_is_no_success(
    tmp_path: Path, emulator_facts: EmulatorFacts
) -> None:
    async with domain_with_agent(tmp_path, emulator_facts) as (tree, agent):
        agent.raw = b'{"so": 1}\n'
        refused = await refusal(tree, "domain_fstrim", None, 0, 0)
        assert refused.code is ErrorCode.INTERNAL_ERROR
        unnamed = await refusal(tree, "domain_get_hostname", 0)
        assert unnamed.code is ErrorCode.NO_HOSTNAME  # whatever the agent's error


async def test_a_guest_suspends_itself(tmp_path: Path, emulator_facts: EmulatorFacts) -> None:
    async with domain_with_agent(tmp_path, emulator_facts) as (tree, agent):
        cannot = await refusal(tree, "domain_pm_suspend_for_duration", 0, 0, 0)
        assert cannot.code is ErrorCode.OPERATION_UNSUPPORTED
        can: dict[str, list[Any]] = {
            "query-current-machine": [{"return": {"wakeup-suspend-support": True}}],
            "query-status": [{"event": "SUSPEND"}],
        }
        tree.script(can)

        def refuse(_: dict[str, Any]) -> None:
            raise Refusal(desc="no suspend tool")

        agent.returns["guest-suspend-ram"] = refuse
        refused = await refusal(tree, "domain_pm_suspend_for_duration", 0, 0, 0)
        assert "no suspend tool" in refused.detail
        agent.silent = {"guest-suspend-ram"}  # there is no reply when it succeeds
        agent.heard.clear()
        suspended = asyncio.create_task(tree.call("domain_pm_suspend_for_duration", 0, 0, 0))
        await agent.heard.wait()
        await tree.call("domain_monitor_command", '{"execute": "query-status"}', 0)
        await suspended


async def test_a_guest_that_falls_asleep_closes_the_channel_first(
    tmp_path: Path, emulator_facts: EmulatorFacts
) -> None:
    async with domain_with_agent(tmp_path, emulator_facts) as (tree, agent):
        closed = port_changed(is_open=False)
        tree.script(
            {
                "query-current-machine": [{"return": {"wakeup-suspend-support": True}}],
                "query-status": [closed],
                "query-uuid": [{"event": "SUSPEND"}],
            }
        )
        agent.silent = {"guest-suspend-ram"}
        suspended = asyncio.create_task(tree.call("domain_pm_suspend_for_duration", 0, 0, 0))
        await agent.heard.wait()
        for command in ("query-status", "query-uuid"):
            await tree.call("domain_monitor_command", json.dumps({"execute": command}), 0)
        await suspended


async def test_a_paused_guest_or_one_without_agent_is_refused_at_once(
    tmp_path: Path, emulator_facts: EmulatorFacts
) -> None:
    async with tree_of(tmp_path, emulator_facts) as tree:
        await tree.start()
        for name, arguments in (
            ("domain_fsfreeze", ([], 0)),
            ("domain_get_guest_info", (0, 0)),
            ("domain_set_user_password", ("root", "x", 0)),
            ("domain_fstrim", (None, 0, 0)),
        ):
            absent = await refusal(tree, name, *arguments)
            assert absent.code is ErrorCode.AGENT_UNRESPONSIVE
            assert "not connected" in absent.detail
        await tree.worker.call(Suspend())
        paused = await refusal(tree, "domain_fsfreeze", [], 0)
        assert paused.code is ErrorCode.OPERATION_INVALID
