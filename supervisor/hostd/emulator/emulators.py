"""Installed QEMU binaries and their probed facts.

Owns: the list of binaries and their facts in memory; one probe at a time for each binary.
May touch: the binaries, through the probes. May not touch: guests, the bus.
"""

from __future__ import annotations

import asyncio
import logging
import os
from pathlib import Path
from typing import Final

from conf.emulator import AcceleratorFacts, EmulatorFacts, Machine
from rpc.errors import ErrorCode, ErrorDomain, VirError
from supervisor.hostd.cpu.cpu_map import CPU_MAP, load_map
from supervisor.hostd.cpu.feature_names import qemu_feature_names
from supervisor.hostd.cpu.models import Models
from supervisor.hostd.emulator.model_probe import probe_models
from supervisor.hostd.emulator.probe import BinaryIdentity, ProbeError, identify, probe
from supervisor.runtime.host import host_arch

DIRECTORIES: Final = ("/usr/bin", "/usr/local/bin")
#: Suffix of the emulator's name where it differs from libvirt's architecture.
SUFFIX: Final = {"i686": "i386", "armv7l": "arm", "armv6l": "arm", "ppc64le": "ppc64"}
ARCHITECTURES: Final = tuple(
    "aarch64 alpha armv6l armv7l cris i686 loongarch64 m68k microblaze microblazeel mips mipsel "  # noqa: SIM905
    "mips64 mips64el or32 ppc ppc64 ppc64le riscv32 riscv64 s390x sh4 sh4eb sparc sparc64 x86_64 "
    "xtensa xtensaeb".split()
)
FAMILY: Final = {"i686": "x86_64"}  # architectures that share CPU models

log = logging.getLogger(__name__)


class Emulators:
    """Finds emulators and caches their facts."""

    def __init__(
        self,
        cache_dir: Path,
        directories: tuple[str, ...] = DIRECTORIES,
        cpu_map: Path = CPU_MAP,
    ) -> None:
        """Create an empty cache.

        Args:
            cache_dir: of probe results on disk.
            directories: searched for emulators.
            cpu_map: of libvirt's CPU models, where that is installed.
        """
        self._cpu_map = cpu_map
        self._mapped: dict[str, Models | None] = {}
        self._cache_dir = cache_dir
        self._directories = directories
        self._facts: dict[str, tuple[BinaryIdentity, EmulatorFacts]] = {}
        self._models: dict[str, Models] = {}
        self._locks: dict[str, asyncio.Lock] = {}

    def installed(self) -> dict[str, str]:
        """Return the installed binaries by architecture."""
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
        """Return the binary for an architecture.

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
        """Return the facts of a binary as it is on disk now.

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
        """Return the CPU models of a binary's architecture: libvirt's map of them, else QEMU's own.

        Raises:
            VirError: as `facts`.
        """
        facts = await self.facts(binary)
        mapped = await self.mapped_models(facts.arch)
        if mapped is not None:
            return mapped
        try:
            async with self._locks.setdefault(f"{binary} models", asyncio.Lock()):
                if binary not in self._models:
                    models = await probe_models(facts, self._cache_dir)
                    known = sorted(qemu_feature_names(facts.tcg.host_model))
                    self._models[binary] = Models(models, known)
                return self._models[binary]
        except ProbeError as error:
            raise qemu_error(ErrorCode.INTERNAL_ERROR, str(error)) from error

    async def mapped_models(self, arch: str) -> Models | None:
        """Return the CPU models in libvirt's map; None: it is not installed, or lacks them."""
        family = FAMILY.get(arch, arch)
        async with self._locks.setdefault("CPU map", asyncio.Lock()):
            if family not in self._mapped:
                self._mapped[family] = await asyncio.to_thread(load_map, family, self._cpu_map)
            return self._mapped[family]

    async def host(self) -> EmulatorFacts:
        """Return the facts of the emulator for the host's architecture.

        Raises:
            VirError: as `default` and `facts`.
        """
        return await self.facts(self.default(host_arch()))

    async def all(self) -> list[EmulatorFacts]:
        """Return the facts of every installed emulator; a broken one is logged and left out."""
        emulators = []
        for binary in dict.fromkeys(self.installed().values()):
            try:
                emulators.append(await self.facts(binary))
            except VirError as error:
                log.warning("%s is left out of the capabilities: %s", binary, error)
        return emulators

    async def select(
        self, binary: str | None, arch: str | None, machine: str | None, virt_type: str | None
    ) -> tuple[EmulatorFacts, Machine, str]:
        """Select emulator, machine and virtualization type; None has libvirt's default.

        Raises:
            VirError: INVALID_ARG; those of `facts`.
        """
        if arch is not None and arch not in ARCHITECTURES:
            raise qemu_error(ErrorCode.INVALID_ARG, f"unknown architecture: {arch}")
        path = binary or self.default(arch or host_arch())
        facts = await self.facts(path)
        if arch is not None and facts.arch != arch:
            detail = f"architecture from emulator '{facts.arch}' doesn't match"
            raise qemu_error(ErrorCode.INVALID_ARG, f"{detail} given architecture '{arch}'")
        kind = virt_type or ("kvm" if facts.kvm_usable else "qemu")
        if kind not in ("kvm", "qemu") or facts.accelerator(kind) is None:
            detail = f"Emulator '{path}' does not support virt type '{kind}'"
            raise qemu_error(ErrorCode.INVALID_ARG, detail)
        chosen = facts.machine(machine) if machine else facts.default_machine()
        if chosen is None:
            detail = f"the machine '{machine or ''}' is not supported by emulator '{path}'"
            raise qemu_error(ErrorCode.INVALID_ARG, detail)
        return facts, chosen, kind

    async def arch_models(self, arch: str) -> Models | None:
        """Return the CPU models of an architecture; None without an emulator for it."""
        binary = self.installed().get(FAMILY.get(arch, arch))
        return None if binary is None else await self.models(binary)

    async def require_arch_models(self, arch: str) -> Models:
        """Return the CPU models of an architecture.

        Raises:
            VirError: CONFIG_UNSUPPORTED without an emulator for it.
        """
        models = await self.arch_models(arch)
        if models is None:
            detail = f"no emulator that knows CPU models of architecture '{arch}' is installed"
            raise qemu_error(ErrorCode.CONFIG_UNSUPPORTED, detail)
        return models


def accelerator(facts: EmulatorFacts, kind: str) -> AcceleratorFacts:
    """Return the accelerator of a selected virtualization type."""
    cpus = facts.accelerator(kind)
    assert cpus is not None, "select() refuses a type that is not available"
    return cpus


def qemu_error(code: ErrorCode, detail: str) -> VirError:
    """Make an error of the QEMU driver."""
    return VirError(code, detail, ErrorDomain.QEMU)
