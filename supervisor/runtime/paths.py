"""Where everything lies: libvirt's own places, moved as one under another root or a user's folders.

Owns: every path of the daemon. Pure: nothing is looked up or made.
Source: DESIGN.md, "Files on disk"; libvirt 9.0's layout for the session daemon.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Paths:
    """The folders of one daemon; the methods name the files in them."""

    root: Path  # what `--root` moved; "/" otherwise
    etc: Path  # configuration and definitions: /etc/libvirt
    lib: Path  # state that is kept: /var/lib/libvirt
    run: Path  # state that a boot of the host ends: /run/libvirt
    cache: Path  # what can be found out again: /var/cache/libvirt
    log: Path  # /var/log/libvirt
    driver: str = "qemu"  # whose domains the methods name files of: "qemu" or "lxc"

    @staticmethod
    def system(root: Path = Path("/")) -> Paths:
        """The system daemon's, below `root`."""
        return Paths(
            root=root,
            etc=root / "etc/libvirt",
            lib=root / "var/lib/libvirt",
            run=root / "run/libvirt",
            cache=root / "var/cache/libvirt",
            log=root / "var/log/libvirt",
        )

    @staticmethod
    def session(environ: Mapping[str, str]) -> Paths:
        """A user's daemon's: the XDG folders, where libvirt keeps its own.

        Raises:
            KeyError: the environment names no home.
        """
        home = Path(environ["HOME"])
        cache = Path(environ.get("XDG_CACHE_HOME") or home / ".cache") / "libvirt"
        config = Path(environ.get("XDG_CONFIG_HOME") or home / ".config") / "libvirt"
        runtime = environ.get("XDG_RUNTIME_DIR")
        return Paths(
            root=Path("/"),
            etc=config,
            lib=config / "qemu/lib",
            run=Path(runtime) / "libvirt" if runtime else cache,
            cache=cache,
            log=cache,
        )

    def for_driver(self, driver: str) -> Paths:
        """The same daemon's, with the files of another driver's domains."""
        return replace(self, driver=driver)

    # Definitions.

    def domain_configs(self) -> Path:
        """The folder of the driver's domains' definitions."""
        return self.etc / self.driver

    def domain_config(self, name: str) -> Path:
        """A domain's persistent definition."""
        return self.etc / self.driver / f"{name}.xml"

    def autostart(self) -> Path:
        """The folder of links to what starts with the host."""
        return self.etc / f"{self.driver}/autostart"

    def autostart_link(self, name: str) -> Path:
        """The link that makes a domain start with the host."""
        return self.autostart() / f"{name}.xml"

    def autostart_done(self) -> Path:
        """The mark that this boot of the host has had its autostart."""
        return self.run / f"{self.driver}/autostarted"

    def last_id_file(self) -> Path:
        """The number that was given to a guest last."""
        return self.run / f"{self.driver}/last-number"

    # What runs.

    def status_dir(self) -> Path:
        """The folder of running guests' status, locks and process numbers."""
        return self.run / self.driver

    def status(self, name: str) -> Path:
        """A running guest's status document."""
        return self.run / self.driver / f"{name}.xml"

    def pid_file(self, name: str) -> Path:
        """A running guest's process number."""
        return self.run / self.driver / f"{name}.pid"

    def lock(self, name: str) -> Path:
        """The lock that the one worker of a guest holds."""
        return self.run / self.driver / f"{name}.lock"

    def domain_dir(self, identifier: int, name: str) -> Path:
        """A running guest's private folder, its monitor socket in it; 20 characters of the name."""
        return self.lib / self.driver / f"domain-{identifier}-{name[:20]}"

    def channels(self, identifier: int, name: str) -> Path:
        """Where a running guest's channel sockets are."""
        return self.lib / f"{self.driver}/channel/target" / f"domain-{identifier}-{name[:20]}"

    def memory_dir(self, identifier: int, name: str) -> Path:
        """Where a running guest's file-backed memory is."""
        return self.lib / f"{self.driver}/ram" / f"{identifier}-{name[:20]}"

    def dumps(self) -> Path:
        """Where crashed guests' memory goes."""
        return self.lib / f"{self.driver}/dump"

    def nvram(self, name: str) -> Path:
        """A guest's own firmware variables."""
        return self.lib / f"{self.driver}/nvram" / f"{name}_VARS.fd"

    def managed_save(self, name: str) -> Path:
        """A guest's saved state."""
        return self.lib / f"{self.driver}/save" / f"{name}.save"

    def snapshots(self, name: str) -> Path:
        """The folder of what is known of a guest's snapshots."""
        return self.lib / f"{self.driver}/snapshot" / name

    def checkpoints(self, name: str) -> Path:
        """The folder of what is known of a guest's checkpoints."""
        return self.lib / f"{self.driver}/checkpoint" / name

    def tpm_state(self, uuid: str) -> Path:
        """What a guest's emulated TPM keeps."""
        return self.lib / "swtpm" / uuid

    def guest_log(self, name: str) -> Path:
        """What a guest's emulator printed."""
        return (
            self.log / self.driver / f"{name}.log"
            if self.log != self.cache
            else (self.cache / f"{self.driver}/log" / f"{name}.log")
        )

    def capabilities(self) -> Path:
        """What probes of emulators found."""
        return self.cache / "qemu/capabilities"

    # Networks.

    def networks(self) -> Path:
        """The folder of networks' definitions."""
        return self.etc / "qemu/networks"

    def network_autostart(self) -> Path:
        """The folder of links to the networks that start with the host."""
        return self.networks() / "autostart"

    def network_status_dir(self) -> Path:
        """The folder of what is known of running networks."""
        return self.run / "network"

    def dnsmasq(self) -> Path:
        """The folder of the networks' DHCP and DNS servers: configuration, hosts, leases."""
        return self.lib / "dnsmasq"

    def network_config_file(self) -> Path:
        """The network driver's settings."""
        return self.etc / "network.conf"

    def interfaces(self) -> Path:
        """The folder of the host's interfaces that were defined through the daemon."""
        return self.etc / "virtvisor/interfaces"

    # Storage.

    def storage(self) -> Path:
        """The folder of pools' definitions."""
        return self.etc / "storage"

    def storage_autostart(self) -> Path:
        """The folder of links to the pools that start with the host."""
        return self.storage() / "autostart"

    def storage_status_dir(self) -> Path:
        """The folder of what is known of active pools."""
        return self.run / "storage"

    # Secrets.

    def secrets(self) -> Path:
        """The folder of secrets' definitions and values."""
        return self.etc / "secrets"

    # The daemon's own.

    def config_file(self) -> Path:
        """The daemon's settings."""
        return self.etc / "libvirtd.conf"

    def qemu_config_file(self) -> Path:
        """The QEMU driver's settings."""
        return self.etc / "qemu.conf"

    def hook(self, name: str) -> Path:
        """A hook script: "daemon" or "qemu"."""
        return self.etc / "hooks" / name

    def socket(self) -> Path:
        """Where clients come in to read and write."""
        return self.run / "libvirt-sock"

    def read_only_socket(self) -> Path:
        """Where clients come in to read."""
        return self.run / "libvirt-sock-ro"

    def control_socket(self) -> Path:
        """Where virtvisorctl asks the root."""
        return self.run / "virtvisor.sock"

    def daemon_pid_file(self) -> Path:
        """The daemon's process number and lock."""
        return (
            self.root / "run/libvirtd.pid"
            if self.run == self.root / "run/libvirt"
            else (self.run / "libvirtd.pid")
        )

    def daemon_log(self) -> Path:
        """What the daemon says when it is not in the foreground."""
        return self.log / "libvirtd.log"

    def host_uuid(self) -> Path:
        """The host's identity, made once when the hardware has none."""
        return self.lib / "host-uuid"

    def lxcfs(self) -> Path:
        """Where the host's lxcfs is, if it has one."""
        return self.root / "var/lib/lxcfs"
