"""Files of networks: definitions, status, and the ports of active networks.

Owns: the files under `etc/libvirt/qemu/networks` and `run/libvirt/network`.
May not touch: what the XML means; links of the kernel.
Source: libvirt 9.0's layout; run: NAME/ports/UUID.xml.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path
from typing import Final

from supervisor.netd.network.registry import NETWORKS
from supervisor.objects import status_files
from supervisor.objects.definition_files import Folders, StoredXml, read_xml_files
from supervisor.runtime.atomic_file import write_file
from supervisor.runtime.paths import Paths

READABLE: Final = 0o644  # libvirt's NSS module reads them in every user's process


class NetworkFiles(status_files.StatusFiles):
    """The files of one daemon's networks; every method blocks."""

    def __init__(self, paths: Paths) -> None:
        """Create the folders.

        Raises:
            OSError: they cannot be created.
        """
        self._status_dir = paths.network_status_dir()
        self._dnsmasq_dir = paths.dnsmasq()
        super().__init__(
            NETWORKS,
            Folders(
                definitions=paths.networks(),
                links=paths.network_autostart(),
                status=self._status_dir,
                journal=paths.change_journal("network"),
            ),
            mark=paths.lib / "network/default-defined",
        )

    def remove_status(self, name: str) -> None:
        """Remove the status of a stopped network, and of its ports.

        Raises:
            OSError: it cannot be removed.
        """
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(self._ports(name).parent)
        super().remove_status(name)

    def ports(self, name: str) -> list[StoredXml]:
        """Read the XML of a running network's ports."""
        return [StoredXml(uuid, xml) for uuid, xml in read_xml_files(self._ports(name))]

    def save_port(self, name: str, uuid: str, xml: str) -> None:
        """Write a port's XML.

        Raises:
            OSError: nothing has changed.
        """
        self._ports(name).mkdir(parents=True, exist_ok=True)
        write_file(self._ports(name) / f"{uuid}.xml", xml.encode(), durable=False)

    def remove_port(self, name: str, uuid: str) -> None:
        """Remove a port's file.

        Raises:
            OSError: it cannot be removed.
        """
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._ports(name) / f"{uuid}.xml")

    def save_macs(self, bridge: str, text: str) -> None:
        """Write which domain has which MAC addresses on a network.

        Raises:
            OSError: nothing has changed.
        """
        write_file(self._macs(bridge), text.encode(), mode=READABLE, durable=False)

    def remove_guests(self, bridge: str) -> None:
        """Remove what is known of a network's guests: MAC addresses and leases.

        Raises:
            OSError: it cannot be removed.
        """
        for path in (self._macs(bridge), self._dnsmasq_dir / f"{bridge}.status"):
            path.unlink(missing_ok=True)

    def _macs(self, bridge: str) -> Path:
        return self._dnsmasq_dir / f"{bridge}.macs"

    def _ports(self, name: str) -> Path:
        return self._status_dir / name / "ports"
