"""The emulators that are installed, and what each can do.

Owns: the list of binaries and their facts in memory; one probe at a time for each binary.
May touch: the binaries, through the probes. May not touch: guests, the bus.
"""

from __future__ import annotations

import asyncio
import logging
import os
from pathlib import Path
from typing import Final

from conf.emulator import EmulatorFacts
from rpc.errors import ErrorCode, ErrorDomain, VirError
from supervisor.hostd.cpu.models import Models
from supervisor.hostd.emulator.model_probe import probe_models
from supervisor.hostd.emulator.probe import BinaryIdentity, ProbeError, identify, probe
from supervisor.runtime.host import host_arch

DIRECTORIES: Final = ("/usr/bin", "/usr/local/bin")
#: libvirt's architectures and the end of the emulator's name, where they differ.
SUFFIX: Final = {"i686": "i386", "armv7l": "arm", "armv6l": "arm", "ppc64le": "ppc64"}
ARCHITECTURES: Final = tuple(
    "aarch64 alpha armv6l armv7l cris i686 loongarch64 m68k microblaze microblazeel mips mipsel "  # noqa: SIM905
    "mips64 mips64el or32 ppc ppc64 ppc64le riscv32 riscv64 s390x sh4 sh4eb sparc sparc64 x86_64 "
    "xtensa xtensaeb".split()
)
FAMILY: Final = {"i686": "x86_64"}  # these share their CPU models

log = logging.getLogger(__name__)


class Emulators:
    """Finds, probes and remembers emulators."""

    def __init__(self, cache_dir: Path, directories: tuple[str, ...] = DIRECTORIES) -> None:
        """Know nothing yet.

        Args:
            cache_dir: where probes keep their findings.
            directories: where emulators are looked for.
        """
        self._cache_dir = cache_dir
        self._directories = directories
        self._facts: dict[str, tuple[BinaryIdentity, EmulatorFacts]] = {}
        self._models: dict[str, Models] = {}
        self._locks: dict[str, asyncio.Lock] = {}

    def installed(self) -> dict[str, str]:
        """The binary for each architecture that has one, sorted by architecture."""
        binaries = {}
        for arch in ARCHITECTURES:
            name = f"qemu-system-{SUFFIX.get(arch, arch)}"
            for directory in self._directories:
                path = os.path.join(directory, name)
                if os.access(path, os.X_OK):
                    binaries[arch] = path
                    break
        return binaries

    def default(self, arch: str) -> str:
        """The binary for an architecture.

        Raises:
            VirError: INVALID_ARG for an unknown one, CONFIG_UNSUPPORTED when none is installed.
        """
        if arch not in ARCHITECTURES:
            raise qemu_error(ErrorCode.INVALID_ARG, f"unknown architecture: {arch}")
        binary = self.installed().get(arch)
        if binary is None:
            detail = f"unable to find any emulator to serve '{arch}' architecture"
            raise qemu_error(ErrorCode.CONFIG_UNSUPPORTED, detail)
        return binary

    async def facts(self, binary: str) -> EmulatorFacts:
        """What a binary can do, as it is on disk now.

        Raises:
            VirError: SYSTEM_ERROR when it is not there, INTERNAL_ERROR when it cannot be probed.
        """
        try:
            async with self._locks.setdefault(binary, asyncio.Lock()):
                identity = identify(binary)
                cached = self._facts.get(binary)
                if cached is not None and cached[0] == identity:
                    return cached[1]
                facts = await probe(binary, self._cache_dir)
                self._facts[binary] = (identity, facts)
                self._models.pop(binary, None)
                return facts
        except ProbeError as error:
            missing = not os.access(binary, os.X_OK)
            code = ErrorCode.SYSTEM_ERROR if missing else ErrorCode.INTERNAL_ERROR
            raise qemu_error(code, str(error)) from error

    async def models(self, binary: str) -> Models:
        """The CPU models that a binary names.

        Raises:
            VirError: as `facts`.
        """
        facts = await self.facts(binary)
        try:
            async with self._locks.setdefault(f"{binary} models", asyncio.Lock()):
                if binary not in self._models:
                    models = await probe_models(facts, self._cache_dir)
                    self._models[binary] = Models(models)
                return self._models[binary]
        except ProbeError as error:
            raise qemu_error(ErrorCode.INTERNAL_ERROR, str(error)) from error

    async def host(self) -> EmulatorFacts:
        """What the emulator for the host's own architecture can do.

        Raises:
            VirError: as `default` and `facts`.
        """
        return await self.facts(self.default(host_arch()))

    async def all(self) -> list[EmulatorFacts]:
        """What every installed emulator can do; a broken one is left out, with a log line."""
        emulators = []
        for binary in dict.fromkeys(self.installed().values()):
            try:
                emulators.append(await self.facts(binary))
            except VirError as error:
                log.warning("%s is left out of the capabilities: %s", binary, error)
        return emulators


def qemu_error(code: ErrorCode, detail: str) -> VirError:
    """An error of the QEMU driver."""
    return VirError(code, detail, ErrorDomain.QEMU)
