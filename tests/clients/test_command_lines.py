"""QEMU itself accepts the planned command lines of recorded documents.

What the documents name is not on this machine: an image stands for each of theirs, user networking
for a tap, a socket in a temporary folder for each of libvirt's. The devices are as planned.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import re
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import pytest

from conf.emulator import EmulatorFacts
from tests.qemu_binary import BINARY
from tests.unit.workers.qemu.argv.argv_corpus import CORPUS, Case, cases
from tests.unit.workers.qemu.argv.argv_plan import LIB, plan

#: Documents with devices of every kind that a plain QEMU has.
NAMES: Final = (
    "disk-scsi-disk-wwn", "disk-virtio", "disk-usb-device-removable", "disk-floppy-q35",
    "disk-detect-zeroes",
    "disk-copy_on_read", "disk-sata-device", "serial-pty-chardev", "channel-virtio-auto",
    "console-virtio-many", "graphics-vnc-policy", "input-usbtablet", "net-user-addr",
    "net-virtio-disable-offloads", "watchdog-dump", "virtio-rng-builtin", "cpu-numa-disjoint",
    "usb-hub", "sound-device", "pcie-root-port", "iothreads-virtio-scsi-pci", "vmcoreinfo",
)  # fmt: skip
ANSWER_S: Final = 10.0
TRY_S: Final = 0.02
FOLDERS: Final = re.compile(rf"{LIB}/(?:channel/target/)?domain-[^/\"]*")


def documents() -> list[Case]:
    """The recorded documents of these names; None of them where there are no recordings."""
    if not CORPUS.exists():
        return []
    found = {case.name: case for case in cases()}
    return [found[name] for name in NAMES]


@pytest.mark.skipif(not CORPUS.exists(), reason=f"no recordings at {CORPUS}")
@pytest.mark.parametrize("case", documents(), ids=lambda case: str(case.name))
def test_qemu_accepts_the_command_line(case: Case, emulator_facts: EmulatorFacts) -> None:
    assert emulator_facts.machines
    document = case.document.replace("<domain type='kvm'", "<domain type='qemu'")
    # Debian 13 has QXL in a package of its own, with SPICE.
    here = replace(case, document=document.replace("<model type='qxl'", "<model type='vga'"))
    with tempfile.TemporaryDirectory(prefix="vv") as folder:  # short: sockets' paths are limited
        words = adapted(plan(here).argv, Path(folder))
        with emulator(words) as process, monitor(process, Path(folder)) as ask:
            assert ask("query-status")["status"] == "prelaunch"
            planned = {device["id"] for device in json_values(words, "-device") if "id" in device}
            there = {one["name"] for one in ask("qom-list", path="/machine/peripheral")}
            assert planned <= there
            ask("quit")
            assert process.wait(ANSWER_S) == 0


def adapted(argv: tuple[str, ...], folder: Path) -> list[str]:
    """The command line with what this machine has."""
    words = [BINARY]
    for option, word in itertools.pairwise(argv):
        if option == "-netdev":
            word = json.dumps({"type": "user", "id": json.loads(word)["id"]})
        elif option == "-blockdev":
            word = with_image(word, folder)
        elif option == "-vnc":
            word = re.sub(r"^[^,]*", f"unix:{folder}/vnc", word)
        word = re.sub(
            rf"{LIB}/domain-[^/\"]*|{LIB}/channel/target/domain-[^/\"]*", str(folder), word
        )
        words.append(word)
    (folder / "master-key.aes").write_bytes(bytes(32))
    return words


def with_image(word: str, folder: Path) -> str:
    """A node with an image of ours."""
    node: dict[str, Any] = json.loads(word)
    if node["driver"] in ("file", "host_device"):
        image = folder / f"{node['node-name']}.img"
        image.write_bytes(bytes(1 << 20))
        node |= {"driver": "file", "filename": str(image)}
        node.pop("aio", None)  # what the temporary folder's filesystem may not do
        node["cache"] = {"direct": False}
    elif "file" in node and node["driver"] == "qcow2":
        node = {"driver": "raw", "node-name": node["node-name"], "file": node["file"]}
    return json.dumps(node)


def json_values(words: list[str], option: str) -> Iterator[dict[str, Any]]:
    """The values of an option that are JSON."""
    for name, word in itertools.pairwise(words):
        if name == option and word.startswith("{"):
            yield json.loads(word)


@contextlib.contextmanager
def emulator(words: list[str]) -> Iterator[subprocess.Popen[str]]:
    """The emulator, for as long as this is entered."""
    process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


@contextlib.contextmanager
def monitor(process: subprocess.Popen[str], folder: Path) -> Iterator[Any]:
    """Ask the emulator over QMP."""
    with explained(process), contextlib.closing(connected(process, folder / "monitor.sock")) as end:
        end.settimeout(ANSWER_S)
        with end.makefile("rw") as stream:
            assert "QMP" in json.loads(stream.readline() or "{}")

            def ask(command: str, **arguments: object) -> Any:
                stream.write(json.dumps({"execute": command, "arguments": arguments}) + "\n")
                stream.flush()
                while "return" not in (answer := json.loads(stream.readline())):
                    assert "event" in answer, answer
                return answer["return"]

            ask("qmp_capabilities")
            yield ask


@contextlib.contextmanager
def explained(process: subprocess.Popen[str]) -> Iterator[None]:
    """Tell what the emulator complained of when it goes away."""
    try:
        yield
    except (ConnectionError, json.JSONDecodeError) as error:
        process.wait(ANSWER_S)
        raise AssertionError(process.stderr.read() if process.stderr else "") from error


def connected(process: subprocess.Popen[str], path: Path) -> socket.socket:
    """A connection to the monitor, as soon as the emulator listens."""
    for _ in range(round(ANSWER_S / TRY_S)):
        end = socket.socket(socket.AF_UNIX)
        with contextlib.suppress(OSError):
            end.connect(str(path))
            return end
        end.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(TRY_S)
            break
    raise ConnectionError(f"nobody listens on {path}")
