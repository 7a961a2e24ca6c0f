"""Networks on disk: definitions, the links that start them with the host, the state of what runs.

Owns: the files under `etc/libvirt/qemu/networks` and `run/libvirt/network`.
May not touch: what documents mean; links of the kernel.
Source: libvirt 9.0's layout: NAME.xml, autostart/NAME.xml; run: NAME.xml, NAME.ports/UUID.xml.
"""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from supervisor.durable import remove_file, sync_folder, write_file
from supervisor.paths import Paths

HEADER: Final = (
    "<!--\nThis file is written by the virtualization daemon, which overwrites changes made here.\n"
    "Change the network with: virsh net-edit {name}\n-->\n\n"
)
MAX_DOCUMENT: Final = 16 * 1024 * 1024  # bytes

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Stored:
    """A document as it lies on disk."""

    name: str  # of its file, without the end
    xml: str
    autostart: bool = False


class Store:
    """The networks of one daemon on disk; everything here blocks."""

    def __init__(self, paths: Paths) -> None:
        """Make the folders.

        Raises:
            OSError: they cannot be made.
        """
        self._paths = paths
        paths.network_autostart().mkdir(parents=True, exist_ok=True)
        paths.network_states().mkdir(parents=True, exist_ok=True)

    # Definitions.

    def load(self) -> list[Stored]:
        """Every definition; what cannot be read is left where it is, with a log line.

        Links to definitions that have gone are removed.
        """
        folder, links = self._paths.networks(), self._paths.network_autostart()
        linked = {name for name in os.listdir(links) if name.endswith(".xml")}
        for file in linked:
            if not (folder / file).exists():
                log.info("%s started a network that has gone: it is removed", file)
                remove_file(links / file)
        return [
            Stored(name, xml, autostart=f"{name}.xml" in linked) for name, xml in _documents(folder)
        ]

    def save(self, name: str, xml: str) -> None:
        """Write a definition; on return it survives a loss of power.

        Raises:
            OSError: nothing has changed.
        """
        comment = HEADER.format(name=name.replace("--", "- -"))
        write_file(self._paths.network_config(name), (comment + xml).encode())

    def remove(self, name: str) -> None:
        """Remove a definition and its link.

        Raises:
            OSError: it cannot be removed.
        """
        remove_file(self._paths.network_config(name))
        remove_file(self._link(name))

    def set_autostart(self, name: str, *, on: bool) -> None:
        """Make or remove the link that starts the network with the host.

        Raises:
            OSError: it cannot be done.
        """
        if not on:
            remove_file(self._link(name))
            return
        with contextlib.suppress(FileExistsError):
            os.symlink(self._paths.network_config(name), self._link(name))
            sync_folder(self._paths.network_autostart())

    def _link(self, name: str) -> Path:
        return self._paths.network_autostart() / f"{name}.xml"

    # What happened before.

    def is_first_start(self) -> bool:
        """Whether no daemon has ever looked after networks here."""
        return not self._mark().exists()

    def keep_first_start(self) -> None:
        """Remember that there was one.

        Raises:
            OSError: the stock network is defined again after a restart.
        """
        self._mark().parent.mkdir(parents=True, exist_ok=True)
        write_file(self._mark(), b"the network 'default' was defined once\n")

    def _mark(self) -> Path:
        return self._paths.lib / "network/default-defined"

    def had_autostart(self, boot: str) -> bool:
        """Whether this boot of the host has had its autostart."""
        try:
            return self._started().read_text(encoding="utf-8").strip() == boot
        except (OSError, ValueError):
            return False

    def keep_autostart(self, boot: str) -> None:
        """Remember that this boot of the host has had its autostart.

        Raises:
            OSError: it will have another one after the next restart.
        """
        write_file(self._started(), f"{boot}\n".encode(), durable=False)

    def _started(self) -> Path:
        return self._paths.network_states() / "autostarted"

    # What runs. A loss of power ends all of it, so the disk is not waited for.

    def states(self) -> list[Stored]:
        """The status document of every network that runs."""
        return [Stored(name, xml) for name, xml in _documents(self._paths.network_states())]

    def save_state(self, name: str, xml: str) -> None:
        """Write what is known of a running network.

        Raises:
            OSError: nothing has changed.
        """
        write_file(self._paths.network_states() / f"{name}.xml", xml.encode(), durable=False)

    def remove_state(self, name: str) -> None:
        """Forget a network that has stopped, and its ports.

        Raises:
            OSError: it cannot be removed.
        """
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(self._ports(name))
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._paths.network_states() / f"{name}.xml")

    def ports(self, name: str) -> list[Stored]:
        """The documents of a running network's ports."""
        return [Stored(uuid, xml) for uuid, xml in _documents(self._ports(name))]

    def save_port(self, name: str, uuid: str, xml: str) -> None:
        """Write a port's document.

        Raises:
            OSError: nothing has changed.
        """
        self._ports(name).mkdir(parents=True, exist_ok=True)
        write_file(self._ports(name) / f"{uuid}.xml", xml.encode(), durable=False)

    def remove_port(self, name: str, uuid: str) -> None:
        """Forget a port.

        Raises:
            OSError: it cannot be removed.
        """
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._ports(name) / f"{uuid}.xml")

    def _ports(self, name: str) -> Path:
        return self._paths.network_states() / f"{name}.ports"


def _documents(folder: Path) -> Iterator[tuple[str, str]]:
    """The documents of a folder by name; half-written and unreadable ones are left out."""
    try:
        files = sorted(file for file in os.listdir(folder) if file.endswith(".xml"))
    except FileNotFoundError:
        return
    for file in files:
        path = folder / file
        if file.startswith(".") or path.is_dir():
            continue
        try:
            if path.stat().st_size > MAX_DOCUMENT:
                raise ValueError("it is too large")
            yield file.removesuffix(".xml"), path.read_text(encoding="utf-8")
        except (OSError, ValueError) as problem:
            log.error("%s is left out: %s", path, problem)
