"""The probe on the real binary, and on programs that are no QEMU."""

from __future__ import annotations

import asyncio
import os
import select
import subprocess
import sys
from pathlib import Path

import pytest

from conf.emulator import EmulatorFacts
from supervisor.hostd.emulator.probe import ProbeError, cache_file, probe, query

BINARY = "/usr/bin/qemu-system-x86_64"
needs_qemu = pytest.mark.skipif(not Path(BINARY).exists(), reason=f"no {BINARY}")


def run(binary: str, cache: Path) -> EmulatorFacts:
    return asyncio.run(probe(binary, cache))


def program(folder: Path, text: str) -> str:
    path = folder / "qemu-system-fake"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


@needs_qemu
def test_the_real_binary_tells_machines_cpus_devices_and_schema(tmp_path: Path) -> None:
    facts = run(BINARY, tmp_path)
    assert facts.arch == "x86_64"
    assert facts.canonical_machine("q35").startswith("pc-q35-")
    assert facts.canonical_machine("no-such-machine") == "no-such-machine"
    machine = facts.machine("pc")
    assert machine is not None
    assert machine.default_cpu == "qemu64"
    assert machine.default_ram_id == "pc.ram"
    assert facts.cpu_model("qemu", "qemu64") is not None
    assert facts.has_device("virtio-blk-pci")
    assert facts.has_object("secret")
    assert facts.has_property("virtio-blk-pci", "iommu_platform")
    assert "blockdev-add" in facts.commands
    assert "DEVICE_DELETED" in facts.events
    assert {"qcow2", "raw"} <= facts.backends["blockdev"]
    assert facts.tcg.host_model


@needs_qemu
def test_a_second_probe_answers_from_the_cache_without_running_the_binary(tmp_path: Path) -> None:
    first = run(BINARY, tmp_path)
    path = cache_file(tmp_path, BINARY)
    path.write_bytes(path.read_bytes().replace(first.package.encode(), b"from the cache"))
    assert run(BINARY, tmp_path).package == "from the cache"


@needs_qemu
@pytest.mark.parametrize("junk", [b"", b"{", b"[]", b"\xff\xfe", b'{"identity":{},"facts":{}}'])
def test_a_corrupt_cache_is_ignored_and_rewritten(tmp_path: Path, junk: bytes) -> None:
    first = run(BINARY, tmp_path)
    path = cache_file(tmp_path, BINARY)
    path.write_bytes(junk)
    assert run(BINARY, tmp_path) == first
    assert len(path.read_bytes()) > len(junk)
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def test_another_binary_at_the_same_path_is_asked_again(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    with pytest.raises(ProbeError, match="first of them"):
        run(program(tmp_path, "echo first of them >&2; exit 1"), cache)
    with pytest.raises(ProbeError, match="second of them"):
        run(program(tmp_path, "echo the second of them >&2; exit 1"), cache)
    assert not cache.exists()


def test_an_absent_binary_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(ProbeError, match="binary /nowhere/qemu: No such file or directory"):
        run("/nowhere/qemu", tmp_path)


def test_a_file_that_is_no_program_is_refused(tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    plain.write_text("text")
    with pytest.raises(ProbeError, match="not executable"):
        run(str(plain), tmp_path)


def test_a_silent_binary_is_given_up_at_the_deadline(tmp_path: Path) -> None:
    silent = program(tmp_path, "exec sleep 30")
    with pytest.raises(ProbeError, match=r"no answer in 0\.2 s"):
        asyncio.run(query(silent, kvm=False, timeout_s=0.2))


@pytest.mark.parametrize("words", ["hello", '{"id":1,"return":7}', "[1]"])
def test_a_program_that_talks_garbage_is_refused(tmp_path: Path, words: str) -> None:
    with pytest.raises(ProbeError, match="Failed to probe QEMU binary"):
        asyncio.run(query(program(tmp_path, f"echo '{words}'"), kvm=False))


def test_the_emulator_ends_with_the_process_that_probes_it(tmp_path: Path) -> None:
    emulator, started = tmp_path / "qemu", tmp_path / "started"
    os.mkfifo(started)
    emulator.write_text(f"#!/bin/sh\necho $$ >{started}\nexec sleep 600\n")
    emulator.chmod(0o755)
    script = (
        "import asyncio, sys\nfrom supervisor.hostd.emulator.probe import run_qmp\n"
        "asyncio.run(run_qmp(sys.argv[1], 'tcg', ()))\n"
    )
    with subprocess.Popen([sys.executable, "-c", script, str(emulator)]) as prober:
        pidfd = os.pidfd_open(int(started.read_text()))
        try:
            prober.kill()
            ready, _, _ = select.select([pidfd], [], [], 20)
            assert ready == [pidfd]
        finally:
            os.close(pidfd)
