"""The paths of the daemon's files: libvirt's own, below another root, or a user's XDG directories.

Owns: every path of the daemon. Pure: nothing is read or made.
Source: DESIGN.md, "Files on disk"; libvirt 9.0's layout for the session daemon.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Paths:
    """The directories of one daemon; the methods return the files in them."""

    root: Path  # what `--root` moved; "/" otherwise
    etc: Path  # configuration and definitions: /etc/libvirt
    lib: Path  # state that is kept: /var/lib/libvirt
    run: Path  # state that a boot of the host ends: /run/libvirt
    cache: Path  # what can be probed again: /var/cache/libvirt
    log: Path  # /var/log/libvirt
    driver: str = "qemu"  # whose domains the methods name files of: "qemu" or "lxc"

    @staticmethod
    def system(root: Path = Path("/")) -> Paths:
        """Locate the system daemon's files below `root`."""
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
        """Locate the session daemon's files: libvirt's directories below the XDG ones.

        Raises:
            KeyError: HOME is not set.
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
        """Locate the files of the same daemon for the domains of another driver."""
        return replace(self, driver=driver)

    # Definitions.

    def domain_configs(self) -> Path:
        """Locate the directory of the driver's domain definitions."""
        return self.etc / self.driver

    def domain_config(self, name: str) -> Path:
        """Locate a domain's persistent definition."""
        return self.etc / self.driver / f"{name}.xml"

    def autostart(self) -> Path:
        """Locate the directory of the autostart links."""
        return self.etc / f"{self.driver}/autostart"

    def last_id_file(self) -> Path:
        """Locate the file of the last domain id."""
        return self.run / f"{self.driver}/last-number"

    # Running domains.

    def status_dir(self) -> Path:
        """Locate the directory of running domains' status files, locks and pid files."""
        return self.run / self.driver

    def status(self, name: str) -> Path:
        """Locate the status file of a running domain."""
        return self.run / self.driver / f"{name}.xml"

    def pid_file(self, name: str) -> Path:
        """Locate the pid file of a running domain."""
        return self.run / self.driver / f"{name}.pid"

    def lock(self, name: str) -> Path:
        """Locate the lock file that the worker of a domain holds."""
        return self.run / self.driver / f"{name}.lock"

    def file_owners(self) -> Path:
        """Locate the directory of the previous owners of running domains' files."""
        return self.run / self.driver / "owners"

    def dynamic_users(self) -> Path:
        """Locate the directory of which user of qemu.conf's range is which domain's."""
        return self.lib / self.driver / "users"

    def domain_dir(self, identifier: int, name: str) -> Path:
        """Locate the private directory of a running domain, with its monitor socket."""
        return self.lib / self.driver / f"domain-{identifier}-{name[:20]}"

    def channels(self, identifier: int, name: str) -> Path:
        """Locate the directory of a running domain's channel sockets."""
        return self.lib / f"{self.driver}/channel/target" / f"domain-{identifier}-{name[:20]}"

    def memory_dir(self, identifier: int, name: str, configured: str) -> Path:
        """Locate the directory of a running domain's file-backed memory.

        Args:
            identifier: its id.
            name: its name.
            configured: memory_backing_dir of qemu.conf; "": the default.
        """
        base = Path(configured) / "libvirt/qemu" if configured else self.lib / self.driver / "ram"
        return base / f"{identifier}-{name[:20]}"

    def dumps(self) -> Path:
        """Locate the directory for the dumps of crashed domains."""
        return self.lib / f"{self.driver}/dump"

    def nvram(self, name: str) -> Path:
        """Locate the firmware variable store of a domain."""
        return self.lib / f"{self.driver}/nvram" / f"{name}_VARS.fd"

    def firmware_descriptors(self, *, session: bool) -> list[Path]:
        """Locate the directories of QEMU's firmware descriptors; later ones win."""
        system = [Path("/usr/share/qemu/firmware"), self.root / "etc/qemu/firmware"]
        return [*system, self.etc.parent / "qemu/firmware"] if session else system

    def vhost_user_descriptors(self, *, session: bool) -> list[Path]:
        """Locate the directories of descriptors of vhost-user programs; later ones win."""
        system = [Path("/usr/share/qemu/vhost-user"), self.root / "etc/qemu/vhost-user"]
        return [*system, self.etc.parent / "qemu/vhost-user"] if session else system

    def managed_save(self, name: str) -> Path:
        """Locate the managed save image of a domain."""
        return self.lib / f"{self.driver}/save" / f"{name}.save"

    def snapshots(self, name: str) -> Path:
        """Locate the directory of a domain's snapshot definitions."""
        return self.lib / f"{self.driver}/snapshot" / name

    def checkpoints(self, name: str) -> Path:
        """Locate the directory of a domain's checkpoint definitions."""
        return self.lib / f"{self.driver}/checkpoint" / name

    def tpm_state(self, uuid: str) -> Path:
        """Locate the state directory of a domain's emulated TPM."""
        return self.lib / "swtpm" / uuid

    def swtpm_socket(self, identifier: int, name: str) -> Path:
        """Locate the socket of a running domain's emulated TPM."""
        return self.run / f"{self.driver}/swtpm" / f"{identifier}-{name[:20]}-swtpm.sock"

    def swtpm_log(self, name: str) -> Path:
        """Locate the log of a domain's emulated TPM."""
        if self.log == self.cache:
            return self.cache / f"{self.driver}/log/swtpm" / f"{name}-swtpm.log"
        return self.log.parent / f"swtpm/libvirt/{self.driver}" / f"{name}-swtpm.log"

    def guest_log(self, name: str) -> Path:
        """Locate the log of a domain's emulator."""
        return (
            self.log / self.driver / f"{name}.log"
            if self.log != self.cache
            else (self.cache / f"{self.driver}/log" / f"{name}.log")
        )

    def capabilities(self) -> Path:
        """Locate the cache of emulator probes."""
        return self.cache / "qemu/capabilities"

    # Networks.

    def networks(self) -> Path:
        """Locate the directory of network definitions."""
        return self.etc / "qemu/networks"

    def network_autostart(self) -> Path:
        """Locate the directory of the networks' autostart links."""
        return self.networks() / "autostart"

    def network_status_dir(self) -> Path:
        """Locate the directory of the active networks' status files."""
        return self.run / "network"

    def dnsmasq(self) -> Path:
        """Locate the directory of dnsmasq's configuration, hosts and leases files."""
        return self.lib / "dnsmasq"

    def network_config_file(self) -> Path:
        """Locate network.conf, the network driver's settings."""
        return self.etc / "network.conf"

    def interfaces(self) -> Path:
        """Locate the directory of the definitions of host interfaces."""
        return self.etc / "virtvisor/interfaces"

    # Storage.

    def storage(self) -> Path:
        """Locate the directory of pool definitions."""
        return self.etc / "storage"

    def storage_autostart(self) -> Path:
        """Locate the directory of the pools' autostart links."""
        return self.storage() / "autostart"

    def storage_status_dir(self) -> Path:
        """Locate the directory of the active pools' status files."""
        return self.run / "storage"

    # Secrets.

    def secrets(self) -> Path:
        """Locate the directory of secret definitions and values."""
        return self.etc / "secrets"

    # The daemon.

    def config_file(self) -> Path:
        """Locate libvirtd.conf."""
        return self.etc / "libvirtd.conf"

    def roles_file(self) -> Path:
        """Locate roles.conf, the rules of access_drivers = ["roles"]."""
        return self.etc / "roles.conf"

    def qemu_config_file(self) -> Path:
        """Locate qemu.conf."""
        return self.etc / "qemu.conf"

    def logd_config_file(self) -> Path:
        """Locate virtlogd.conf."""
        return self.etc / "virtlogd.conf"

    def lockd_config_file(self) -> Path:
        """Locate qemu-lockd.conf."""
        return self.etc / "qemu-lockd.conf"

    def logd(self) -> Path:
        """Locate the directory of the pipes through which guests write their logs."""
        return self.run / "logd"

    def hook(self, name: str) -> Path:
        """Locate a hook script: "daemon", "qemu", "lxc" or "network"."""
        return self.etc / "hooks" / name

    def socket(self) -> Path:
        """Locate the read-write client socket."""
        return self.run / "libvirt-sock"

    def read_only_socket(self) -> Path:
        """Locate the read-only client socket."""
        return self.run / "libvirt-sock-ro"

    def libvirt_admin_socket(self) -> Path:
        """Locate the socket of virt-admin."""
        return self.run / "libvirt-admin-sock"

    def control_socket(self) -> Path:
        """Locate the admin socket of virtvisorctl."""
        return self.run / "virtvisor.sock"

    def daemon_pid_file(self) -> Path:
        """Locate the pid file of the daemon."""
        return (
            self.root / "run/libvirtd.pid"
            if self.run == self.root / "run/libvirt"
            else (self.run / "libvirtd.pid")
        )

    def polkit_policy(self) -> Path:
        """Locate the policy that tells polkit of libvirt's actions."""
        return self.root / "usr/share/polkit-1/actions/org.libvirt.unix.policy"

    def pki(self, *, session: bool) -> list[Path]:
        """Locate the directories of TLS certificates; a user's own come before the system's."""
        user = [Path.home() / ".pki/libvirt"] if session else []
        return [*user, self.root / "etc/pki"]

    def daemon_log(self) -> Path:
        """Locate the log of a daemon in the background."""
        return self.log / "libvirtd.log"

    def change_journal(self, name: str) -> Path:
        """Locate the journal of a driver's definitions."""
        return self.lib / "changes" / name

    def host_uuid(self) -> Path:
        """Locate the host UUID, which is generated once where the firmware has none."""
        return self.lib / "host-uuid"

    def lxcfs(self) -> Path:
        """Locate the mount point of lxcfs."""
        return self.root / "var/lib/lxcfs"
