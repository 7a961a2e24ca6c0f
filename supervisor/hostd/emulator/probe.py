"""Probes a QEMU binary by QMP and caches the result on disk.

Owns: the probe's short QEMU run and the files `paths.cache/qemu/capabilities/<hash>.json`.
May touch: the binary, /dev/kvm (only to see whether it can be opened), the cache directory.
May not touch: guests, definitions, the bus; replies are parsed in `qmp_queries`.
Runs with: hostd's rights, which QEMU inherits; it holds no capability and dies with the run.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import hashlib
import logging
import os
import signal
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec

from conf.emulator import EmulatorFacts
from supervisor.hostd.emulator.qmp_queries import (
    ACCELERATOR_QUERIES,
    QUERIES,
    Query,
    Replies,
    read_facts,
)
from supervisor.runtime.subprocesses import PDEATHSIG_WRAPPER

FORMAT: Final = 2  # of the cache file and the queries; a change invalidates old files
TIMEOUT_S: Final = 10.0
END_TIMEOUT_S: Final = 2.0  # for a killed QEMU to exit
LINE_LIMIT: Final = 16 << 20  # bytes; the reply to query-qmp-schema has 0.2 MiB
STDERR_LIMIT: Final = 4096  # bytes of QEMU's error output that are quoted
KVM: Final = Path("/dev/kvm")

log = logging.getLogger(__name__)


class ProbeError(Exception):
    """The binary could not be probed; the message names it and says why."""


class BinaryIdentity(msgspec.Struct, frozen=True, kw_only=True):
    """Key of a cached result: another binary, kernel or access to KVM invalidates it."""

    path: str
    mtime_ns: int
    size: int
    inode: int
    kernel: str
    kvm: bool
    format: int = FORMAT


class _Cached(msgspec.Struct, frozen=True):
    identity: BinaryIdentity
    facts: EmulatorFacts


class _Reply(msgspec.Struct, frozen=True):
    id: int = -1
    result: msgspec.Raw = msgspec.field(name="return", default=msgspec.Raw())


def identify(binary: str) -> BinaryIdentity:
    """Return the identity of a binary as it is on disk now.

    Raises:
        ProbeError: there is no such file, or it cannot be run.
    """
    try:
        status = os.stat(binary)
    except OSError as error:
        raise ProbeError(f"Cannot check QEMU binary {binary}: {error.strerror}") from error
    if not os.access(binary, os.X_OK):
        raise ProbeError(f"Cannot check QEMU binary {binary}: it is not executable")
    return BinaryIdentity(
        path=binary,
        mtime_ns=status.st_mtime_ns,
        size=status.st_size,
        inode=status.st_ino,
        kernel=os.uname().release,
        kvm=os.access(KVM, os.R_OK | os.W_OK),
    )


async def probe(binary: str, cache_dir: Path, *, timeout_s: float = TIMEOUT_S) -> EmulatorFacts:
    """Return the facts of a binary, from the cache if it is valid.

    Raises:
        ProbeError: the binary is missing, fails, or does not reply within `timeout_s` seconds.
    """
    identity = identify(binary)
    cached = _read_cache(cache_dir, identity)
    if cached is not None:
        return cached
    facts = await query(binary, kvm=identity.kvm, timeout_s=timeout_s)
    try:
        _write_cache(cache_dir, identity, facts)
    except OSError as error:
        log.warning("cannot cache the facts of %s in %s: %s", binary, cache_dir, error)
    return facts


async def query(binary: str, *, kvm: bool, timeout_s: float = TIMEOUT_S) -> EmulatorFacts:
    """Run the binary and query it, without the cache.

    Raises:
        ProbeError: it fails, or does not reply within `timeout_s` seconds.
    """
    try:
        async with asyncio.timeout(timeout_s):
            if not kvm:
                return read_facts(binary, await run_qmp(binary, "tcg", QUERIES), None)
            async with asyncio.TaskGroup() as group:
                main = group.create_task(run_qmp(binary, "kvm:tcg", QUERIES))
                tcg = group.create_task(run_qmp(binary, "tcg", ACCELERATOR_QUERIES))
            return read_facts(binary, main.result(), tcg.result())
    except TimeoutError as error:
        detail = f"no answer in {timeout_s:g} s"
        raise ProbeError(f"Failed to probe QEMU binary {binary}: {detail}") from error
    except ExceptionGroup as group_error:
        first = group_error.exceptions[0]
        raise first if isinstance(first, ProbeError) else ProbeError(str(first)) from group_error
    except (msgspec.MsgspecError, LookupError) as error:
        detail = f"unexpected QMP reply: {error}"
        raise ProbeError(f"Failed to probe QEMU binary {binary}: {detail}") from error


async def run_qmp(binary: str, accelerator: str, queries: Sequence[Query]) -> Replies:
    """Run QEMU once: write all commands, then read the replies."""
    if not os.access(binary, os.X_OK):
        number = errno.EACCES if os.access(binary, os.F_OK) else errno.ENOENT
        raise ProbeError(f"Failed to run QEMU binary {binary}: {os.strerror(number)}")
    # QEMU does not end when its monitor's pipe is closed: it would outlive a hostd that is killed.
    command = [
        *PDEATHSIG_WRAPPER, binary, "-S", "-no-user-config", "-nodefaults", "-nographic",
        "-machine", f"none,accel={accelerator}", "-qmp", "stdio",
    ]  # fmt: skip
    try:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            limit=LINE_LIMIT,
            start_new_session=True,
            env={"LC_ALL": "C", "PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/"},
        )
    except OSError as error:
        raise ProbeError(f"Failed to run QEMU binary {binary}: {error.strerror}") from error
    try:
        return await _exchange(process, binary, queries)
    finally:
        await _kill(process)


async def _kill(process: asyncio.subprocess.Process) -> None:
    """Kill QEMU's process group and wait for its exit, also when cancelled."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    ending = asyncio.create_task(_drain(process))
    try:
        await asyncio.shield(ending)
    except asyncio.CancelledError:
        await asyncio.wait({ending})  # the parallel run failed first
        raise


async def _drain(process: asyncio.subprocess.Process) -> None:
    """Read a killed QEMU's pipes until it exits."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(END_TIMEOUT_S):
            await process.communicate()


async def _exchange(
    process: asyncio.subprocess.Process, binary: str, queries: Sequence[Query]
) -> Replies:
    assert process.stdin is not None
    assert process.stdout is not None
    commands = [Query("qmp_capabilities"), *queries]
    requests = b"".join(query.encode(number) for number, query in enumerate(commands))
    # A program that is no QEMU may have exited: uvloop raises RuntimeError for its closed pipe,
    # and what it has printed is read below.
    with contextlib.suppress(OSError, RuntimeError):
        process.stdin.write(requests)
    replies: dict[Query, bytes] = {}
    pending = len(commands)
    while pending:
        line = await process.stdout.readline()
        if not line:
            raise ProbeError(f"Failed to probe QEMU binary {binary}: {await _stderr_text(process)}")
        reply = msgspec.json.decode(line, type=_Reply)
        if 0 <= reply.id < len(commands):
            pending -= 1
            if reply.result:
                replies[commands[reply.id]] = bytes(reply.result)
    return Replies(replies)


async def _stderr_text(process: asyncio.subprocess.Process) -> str:
    assert process.stderr is not None
    text = (await process.stderr.read(STDERR_LIMIT)).decode(errors="replace").strip()
    return text or "it closed its monitor without an error message"


def cache_file(cache_dir: Path, binary: str) -> Path:
    """Return the cache file of a binary; `cache_dir` is `paths.cache/qemu/capabilities`."""
    return cache_dir / f"{hashlib.sha256(os.fsencode(binary)).hexdigest()}.json"


def _read_cache(cache_dir: Path, identity: BinaryIdentity) -> EmulatorFacts | None:
    path = cache_file(cache_dir, identity.path)
    try:
        cached = msgspec.json.decode(path.read_bytes(), type=_Cached)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
        log.warning("ignoring the cache file %s: %s", path, error)
        return None
    return cached.facts if cached.identity == identity else None


def _write_cache(cache_dir: Path, identity: BinaryIdentity, facts: EmulatorFacts) -> None:
    save_cache(cache_file(cache_dir, identity.path), msgspec.json.encode(_Cached(identity, facts)))


def save_cache(path: Path, data: bytes) -> None:
    """Write a cache file atomically and durably."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=".probe-")
    try:
        with open(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
