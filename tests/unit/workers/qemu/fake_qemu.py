"""A QEMU binary that misbehaves: a real process with a QMP socket, as its script says.

It finds its listening socket by `-chardev socket,id=charmonitor,fd=N` and its script in `script`
beside itself, a JSON object: command ("exec" and "greet" too) to a list of steps. Steps: "die",
"silent", "garbage", "close", {"sleep": SECONDS}, {"event": NAME, "data": {…}}, {"error": CLASS},
{"return": …}. A thread "own" in what it returns is the process's own.
What it did is noted in `commands` beside it, a line a command.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import sys
import time
from pathlib import Path
from typing import Any

GREETING = {"QMP": {"version": {"qemu": {"micro": 0, "minor": 2, "major": 7}}, "capabilities": []}}
STATES = {"cont": "running", "stop": "paused"}
EVENTS = {"cont": "RESUME", "stop": "STOP"}


class FakeQemu:
    """One emulator."""

    def __init__(self, argv: list[str]) -> None:
        self.home = Path(argv[0]).parent
        match = re.search(r"fd=(\d+)", next(item for item in argv if "charmonitor" in item))
        assert match is not None
        self.listener = socket.socket(fileno=int(match[1]))
        self.client: socket.socket | None = None
        self.state = "prelaunch"
        self.reply: object = {}

    def send(self, message: object) -> None:
        """Send one message."""
        assert self.client is not None
        self.client.sendall(json.dumps(message).encode() + b"\r\n")

    def stop_by_itself(self, *_: object) -> None:
        """Stop the vCPUs, as a guest does that has panicked; on SIGUSR1."""
        self.state = "paused"
        self.send({"event": "STOP", "timestamp": {"seconds": 1, "microseconds": 2}})

    def terminate(self, *_: object) -> None:
        """Say so and exit, as QEMU does on SIGTERM."""
        data = {"guest": False, "reason": "host-signal"}
        with contextlib.suppress(OSError, AssertionError):
            self.send({"event": "SHUTDOWN", "data": data})
        os._exit(0)

    def perform(self, name: str) -> bool:
        """Perform the script's steps for a command; whether it is to be replied to."""
        script: dict[str, list[Any]] = json.loads((self.home / "script").read_text())
        for step in script.get(name, []):
            match step:
                case "die":
                    sys.stderr.write(f"fake QEMU dies at {name}\n")
                    sys.stderr.flush()
                    os._exit(1)
                case "silent":
                    time.sleep(600)
                case {"sleep": seconds}:
                    time.sleep(seconds)
                case "garbage":
                    assert self.client is not None
                    self.client.sendall(b"\xff\xfe{not json\n")
                    return False
                case "close":
                    assert self.client is not None
                    self.client.close()
                    return False
                case {"event": event}:
                    stamp = {"seconds": 1, "microseconds": 2}
                    data = step.get("data", {})
                    self.send({"event": event, "data": data, "timestamp": stamp})
                case {"error": error_class}:
                    self.reply = {"error": {"class": error_class, "desc": "fake refusal"}}
                case {"return": value}:
                    text = json.dumps(value).replace('"own"', str(os.getpid()))
                    self.reply = {"return": json.loads(text)}
        return True

    def execute(self, command: dict[str, Any]) -> None:
        """Execute one command."""
        name = command["execute"]
        with (self.home / "commands").open("a") as record:
            record.write(f"{name}\n")
        self.reply = {"return": self.value(name, command.get("arguments", {}))}
        if not self.perform(name):
            return
        assert isinstance(self.reply, dict)
        if name in STATES and "return" in self.reply and self.state != STATES[name]:
            self.state = STATES[name]
            self.send({"event": EVENTS[name], "timestamp": {"seconds": 1, "microseconds": 2}})
        self.send({**self.reply, "id": command["id"]})

    def value(self, name: str, arguments: dict[str, object]) -> object:
        """What QEMU returns for a command."""
        match name:
            case "qom-get" if arguments["property"] in ("feature-words", "filtered-features"):
                return []
            case "query-status":
                return {"status": self.state, "running": self.state == "running"}
            case (
                "query-chardev"
                | "query-cpus-fast"
                | "query-named-block-nodes"
                | "query-blockstats"
                | "query-memory-devices"
                | "query-iothreads"
                | "query-jobs"
            ):
                return []
        return {}

    def serve(self) -> None:
        """Serve one client of the monitor after the other, as QEMU does."""
        self.perform("exec")
        while True:
            self.client, _ = self.listener.accept()
            with self.client, self.client.makefile("rb") as lines:
                if not self.perform("greet"):
                    continue
                self.send(GREETING)
                try:
                    for line in lines:
                        self.execute(json.loads(line))
                except (OSError, ValueError):
                    continue


if __name__ == "__main__":
    qemu = FakeQemu(sys.argv)
    signal.signal(signal.SIGTERM, qemu.terminate)
    signal.signal(signal.SIGUSR1, qemu.stop_by_itself)
    qemu.serve()
