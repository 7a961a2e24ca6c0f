"""DefinitionBuilder: makes checked and complete domain definitions of XML or of an edited model.

Owns: the order parse, complete, validate, format; the emulator capabilities that were fetched.
May touch: hostd, for emulator capabilities. May not touch: files, the registry.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, Protocol

from lxml import etree

from conf.domain import Domain, format_domain, read_domain
from conf.domain.defaults import complete
from conf.domain.lxc.defaults import complete_container
from conf.domain.os_defaults import complete_nvram
from conf.domain.validate.parsed_domain import check_parsed
from conf.emulator import EmulatorFacts
from conf.mapper import parse_root
from conf.settings import QemuConfig
from ipc import Node
from supervisor.dispatch.schema import log_unknown
from supervisor.domd.domain import Definition
from supervisor.messages.hostd import ProbeEmulator
from supervisor.runtime.child import ChildProcess
from supervisor.runtime.host import host_arch
from supervisor.runtime.off_loop import LARGE, off_loop
from supervisor.runtime.paths import Paths

LOG_DELAY_S: Final = 0.005  # the definition's log comes after the answer to its client
MAX_EMULATORS: Final = 16  # emulators whose capabilities are cached


class Completion(Protocol):
    """A driver's defaults: fills in and validates what a parsed domain leaves open."""

    async def complete(self, domain: Domain, size: int, *, validate: bool = True) -> Domain:
        """Fill in the driver's defaults and validate the domain.

        Args:
            domain: changed in place.
            size: characters of its XML: a large one is completed in a thread.
            validate: False: it is only kept, and need not start.

        Raises:
            ConfError, VirError: the domain is invalid, or the emulator does not support it.
        """

    def invalidate(self) -> None:
        """Drop cached host capabilities."""


class DefinitionBuilder:
    """Builds definitions with one driver's defaults."""

    def __init__(self, completion: Completion) -> None:
        self._completion = completion

    async def build(self, source: str | Domain, *, size: int = 0) -> Definition:
        """Complete and validate a domain, and format its definition.

        Args:
            source: a client's XML, or a model that the caller owns; it is changed in place.
            size: characters of the model's XML; that of `source` itself is known.

        Raises:
            ConfError, VirError: the domain is invalid, or the emulator does not support it.
        """
        if isinstance(source, str):
            size, xml = len(source), source
            root = await off_loop(size, lambda: parse_root(Domain, xml))
            domain = await off_loop(size, lambda: read_domain(root))
            await _log_unknown(domain, root, size)
            domain.id = None  # a client's word: only a running guest has one
        else:
            # An edit can break what the parser refuses, like two disks on one target.
            check_parsed(source)
            domain = source
        completed = await self._completion.complete(domain, size)
        text = await off_loop(size, lambda: format_domain(completed, secure=True))
        return Definition(text, completed)

    async def complete_only(self, domain: Domain) -> Domain:
        """Fill in the defaults of a domain that a document refers to, and that need not start.

        Args:
            domain: the caller's own; it is changed in place.

        Raises:
            ConfError, VirError: it cannot be.
        """
        return await self._completion.complete(domain, 0, validate=False)

    async def complete(self, definition: Definition) -> Definition:
        """Complete a definition that was loaded from a file.

        Loading skips this: a thousand definitions would have every emulator probed at start-up.

        Raises:
            ConfError, VirError: as `build`.
        """
        return definition if definition.is_complete else await self.build(definition.xml)

    def invalidate(self) -> None:
        """Drop cached host capabilities: an emulator may have been upgraded."""
        self._completion.invalidate()


async def _log_unknown(domain: Domain, root: etree._Element, size: int) -> None:
    """Name in the log what of a client's XML has no effect."""
    what = f"domain '{domain.name}'"
    if size > LARGE:
        await off_loop(size, lambda: log_unknown(what, root, Domain))
    else:
        asyncio.get_running_loop().call_later(LOG_DELAY_S, log_unknown, what, root, Domain)


class QemuCompletion:
    """Defaults of the QEMU driver, which depend on the capabilities of the domain's emulator."""

    def __init__(self, node: Node, config: Callable[[], QemuConfig], paths: Paths) -> None:
        """Make a completion.

        Args:
            node: with a link to hostd.
            config: returns qemu.conf, which can be reloaded.
            paths: of the daemon, with the driver's files.
        """
        self._paths = paths
        self._channels = f"{paths.channels(0, '').parent}/"
        self._hostd = node.link("hostd")
        self._config = config  # called each time: qemu.conf can be reloaded
        self._capabilities: dict[tuple[str, str], EmulatorFacts] = {}

    @classmethod
    def for_process(cls, process: ChildProcess) -> QemuCompletion:
        """Make the completion of a domd."""
        return cls(process.node, lambda: process.qemu_config, process.paths.for_driver("qemu"))

    async def complete(self, domain: Domain, size: int, *, validate: bool = True) -> Domain:
        """Fill in QEMU's defaults and validate the domain.

        Raises:
            ConfError, VirError: the domain is invalid, or the emulator does not support it.
        """
        if domain.os.type is not None and domain.os.type.arch is None:
            # Not the emulator's: libvirt refuses another architecture's emulator without arch=.
            domain.os.type.arch = host_arch()
        facts = await self._capabilities_for(domain)
        for channel in domain.devices.channels:
            # The XML of a running guest has sockets that its start has made; another guest that is
            # defined from it gets its own.
            is_generated = (channel.path or "").startswith(self._channels)
            if channel.type == "unix" and channel.target_type == "virtio" and is_generated:
                channel.ends = []
        spice_tls = self._config().spice_tls
        await off_loop(
            size, lambda: complete(domain, facts, spice_tls=spice_tls, validate=validate)
        )
        complete_nvram(domain.os, str(self._paths.nvram(domain.name)))
        return domain

    def invalidate(self) -> None:
        """Drop the cached capabilities of all emulators."""
        self._capabilities.clear()

    async def _capabilities_for(self, domain: Domain) -> EmulatorFacts:
        arch = domain.os.type.arch if domain.os.type and domain.os.type.arch else ""
        key = (domain.devices.emulator or "", arch)
        cached = self._capabilities.get(key)
        if cached is None:
            probe = ProbeEmulator(binary=key[0], arch=key[1])
            probed = await self._hostd.call(probe)
            if len(self._capabilities) >= MAX_EMULATORS:
                self._capabilities.clear()
            cached = self._capabilities[key] = probed.facts
        return cached


class LxcCompletion:
    """Defaults of the LXC driver, which depend on the host's architecture alone."""

    def __init__(self, arch: str) -> None:
        self._host_arch = arch

    @classmethod
    def for_process(cls, process: ChildProcess) -> LxcCompletion:
        """Make the completion of an lxcd."""
        return cls(host_arch())

    async def complete(self, domain: Domain, size: int, *, validate: bool = True) -> Domain:
        """Fill in LXC's defaults and validate the domain.

        Raises:
            ConfError: the domain is invalid.
        """
        return complete_container(domain, self._host_arch)

    def invalidate(self) -> None:
        """Do nothing: nothing is cached."""
