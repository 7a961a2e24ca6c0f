"""A QMP peer that misbehaves: a real program at the other end of a socket.

Run as `qmp_peer.py FD MODE`. Modes: "honest" answers everything and echoes a descriptor's contents;
"silent" greets, takes capabilities and then reads nothing more of interest; "late" answers a
command only after the next line has come; "dying" exits on the first command; "garbage" answers
with noise; "endless" answers with a line that never ends; "deep" with nested lists; "mute" does
not even greet.
"""

from __future__ import annotations

import array
import json
import os
import socket
import sys

GREETING = {"QMP": {"version": {"qemu": {"micro": 0, "minor": 2, "major": 7}}, "capabilities": []}}


class Peer:
    """QEMU's end of the monitor."""

    def __init__(self, end: socket.socket, mode: str) -> None:
        self.end = end
        self.mode = mode
        self.buffer = b""
        self.fds: list[int] = []

    def say(self, message: object) -> None:
        """Send one message."""
        self.end.sendall(json.dumps(message).encode() + b"\r\n")

    def hear(self) -> dict[str, object]:
        """Read one command."""
        while b"\n" not in self.buffer:
            data, ancillary, _, _ = self.end.recvmsg(4096, 1024)
            for _, _, received in ancillary:
                numbers = array.array("i")
                numbers.frombytes(received[: len(received) - len(received) % numbers.itemsize])
                self.fds += numbers
            if not data:
                sys.exit(0)
            self.buffer += data
        line, _, self.buffer = self.buffer.partition(b"\n")
        command = json.loads(line)
        assert isinstance(command, dict)
        return command

    def run(self) -> None:
        """Greet and reply until the client closes."""
        if self.mode != "mute":
            self.say(GREETING)
        while True:
            command = self.hear()
            if command["execute"] == "qmp_capabilities":
                self.say({"return": {}, "id": command["id"]})
            else:
                self.answer(command)

    def answer(self, command: dict[str, object]) -> None:
        """Reply as the mode says."""
        number = command["id"]
        match self.mode:
            case "dying":
                os._exit(3)
            case "garbage":
                self.end.sendall(b"\xff\xfe{not json\n")
            case "endless":
                self.end.sendall(b'{"return": "' + b"x" * (9 << 20))
            case "deep":
                self.end.sendall(b'{"return": ' + b"[" * 100_000 + b"\n")
            case "late":
                if command["execute"] != "slow":
                    self.say({"return": {"heard": command["execute"]}, "id": number})
                    return
                self.end.recv(1)  # a single byte, sent by the test, lets the answer go
                self.say({"return": {}, "id": number})
            case "honest":
                self.honest(command)

    def honest(self, command: dict[str, object]) -> None:
        """Reply as QEMU does."""
        number = command["id"]
        match command["execute"]:
            case "refuse":
                error = {"class": "CommandNotFound", "desc": "no such command"}
                self.say({"error": error, "id": number})
            case "tell":
                stamp = {"seconds": 5, "microseconds": 6}
                self.say({"event": "STOP", "timestamp": stamp})
                self.say({"event": "RTC_CHANGE", "data": {"offset": 7}, "timestamp": stamp})
                self.say({"return": {}, "id": number})
            case "getfd":
                text = os.read(self.fds.pop(), 100).decode()
                self.say({"return": {"read": text}, "id": number})
            case _:
                self.say({"return": {"did": command["execute"]}, "id": number})


if __name__ == "__main__":
    Peer(socket.socket(fileno=int(sys.argv[1])), sys.argv[2]).run()
