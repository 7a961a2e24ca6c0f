"""Inputs of the command line: the domain, the emulator's facts, and values of this launch.

Owns: `LaunchInputs` (id, directories, descriptors, secrets), `Launch` (the result), and `Context`
with the questions that several modules ask.
May touch: values only; planning opens, creates and asks nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol

from conf.domain.model import Domain
from conf.emulator import EmulatorFacts
from conf.errors import ConfError
from supervisor.workers.qemu.argv.secret_encryption import EncryptedSecret
from supervisor.workers.qemu.argv.syntax import Json, json_of

Option = tuple[str, ...]  # one option with its value: ("-device", "{…}") or ("-S",)
Options = Iterator[Option]
Props = dict[str, Json | None]

MASTER_KEY: Final = "masterKey0"
BOOT_DISKS: Final = {"hd": ("disk", "lun"), "cdrom": ("cdrom",), "fd": ("floppy",)}


class Bootable(Protocol):
    """A device that may say when it is booted from."""

    boot_order: int | None


def _no_secrets(_: bytes) -> EncryptedSecret:
    raise ConfError("internal", "cannot encrypt a secret: the launch has no master key")


#: A number that QEMU inherits, or the name of one passed to a running QEMU (getfd).
Fd = int | str


@dataclass(frozen=True, slots=True, kw_only=True)
class PassedImage:
    """An image that QEMU gets as a set of descriptors, which has the first one's number."""

    fds: tuple[int, ...]
    #: How all of them are open; None: some for reading, others for writing. QEMU takes only one
    #: that is open as it would open the file, and reads at first where it may choose.
    read_only: bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LaunchInputs:
    """Values of one launch that the worker chooses or opens.

    Paths are the host's, as QEMU itself sees them. Descriptors are the numbers that QEMU will
    inherit; the worker keeps them open until the launch.
    """

    id: int
    domain_dir: str  # /var/lib/libvirt/qemu/domain-ID-NAME
    channel_dir: str  # /var/lib/libvirt/qemu/channel/target/domain-ID-NAME
    memory_dir: str  # /var/lib/libvirt/qemu/ram/ID-NAME
    load_snapshot: str = ""  # of -loadvm: a snapshot in the images
    incoming: str = ""  # of -incoming: "defer", or a URI; "": a fresh boot
    monitor_fd: int | None = None  # a listening socket; None: QEMU makes monitor.sock itself
    path: str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    tap_fds: Mapping[str, tuple[Fd, ...]] = field(default_factory=dict)  # by interface alias
    vhost_fds: Mapping[str, tuple[Fd, ...]] = field(default_factory=dict)  # by interface alias
    vsock_fd: int | None = None  # /dev/vhost-vsock with its guest cid set
    char_fds: Mapping[str, int] = field(default_factory=dict)  # by device alias: an open file
    socket_fds: Mapping[str, Fd] = field(default_factory=dict)  # by alias: a listening socket
    disk_fds: Mapping[str, PassedImage] = field(default_factory=dict)  # by protocol node
    log_fds: Mapping[str, int] = field(default_factory=dict)  # by device alias: the <log> file
    tpm_sockets: Mapping[str, str] = field(default_factory=dict)  # by alias: swtpm's socket
    fs_sockets: Mapping[str, str] = field(default_factory=dict)  # by alias: virtiofsd's socket
    names_process: bool = False  # set_process_name of qemu.conf
    scsi_generic: Mapping[str, str] = field(default_factory=dict)  # by hostdev alias: /dev/sgN
    hugepage_dirs: Mapping[int, str] = field(default_factory=dict)  # page size in KiB: a folder
    default_hugepage: int = 0  # KiB; 0: hugetlbfs is not mounted
    secrets: Mapping[str, bytes] = field(default_factory=dict)  # by UUID, or by "usage TYPE NAME"
    encrypt: Callable[[bytes], EncryptedSecret] = (
        _no_secrets  # encrypts with the guest's master key
    )
    pr_helper_socket: str = ""  # of a managed persistent reservation helper
    now: float = 0.0  # seconds since the epoch, for a clock with an offset
    default_tls_dir: str = "/etc/pki/qemu"
    vnc_listen: str = "127.0.0.1"  # where the XML has no address
    spice_listen: str = "127.0.0.1"
    vnc_tls_dir: str = ""
    vnc_tls_verify: bool = False  # whether VNC clients need a certificate, too
    spice_tls_dir: str = ""
    vnc_sasl: bool = False
    spice_sasl: bool = False
    seccomp: bool = True
    numa_nodes: frozenset[int] = frozenset({0})

    @property
    def master_key_file(self) -> str:
        """Path of the master key: 32 random bytes with which secrets are encrypted."""
        return f"{self.domain_dir}/master-key.aes"

    @property
    def monitor_socket(self) -> str:
        """Where QMP is."""
        return f"{self.domain_dir}/monitor.sock"

    def inherited(self) -> tuple[int, ...]:
        """List every descriptor that QEMU must inherit."""
        numbers = [
            fd
            for fds in (self.tap_fds, self.vhost_fds)
            for many in fds.values()
            for fd in many
            if isinstance(fd, int)
        ]
        numbers += [fd for fds in (self.char_fds, self.log_fds) for fd in fds.values()]
        numbers += [fd for image in self.disk_fds.values() for fd in image.fds]
        numbers += [fd for fd in self.socket_fds.values() if isinstance(fd, int)]
        numbers += [fd for fd in (self.monitor_fd, self.vsock_fd) if fd is not None]
        return tuple(sorted(numbers))


@dataclass(frozen=True, slots=True)
class Launch:
    """Arguments, environment and inherited descriptors of the QEMU process."""

    argv: tuple[str, ...]
    environ: Mapping[str, str]
    fds: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Context:
    """The inputs of every module that plans a part of the command line."""

    domain: Domain
    facts: EmulatorFacts
    inputs: LaunchInputs

    @property
    def machine(self) -> str:
        """The canonical machine type."""
        return self.facts.canonical_machine(self.domain.os.type.machine or "")

    @property
    def is_q35(self) -> bool:
        """Whether the chipset is the Q35."""
        return self.machine == "q35" or self.machine.startswith("pc-q35-")

    @property
    def is_i440fx(self) -> bool:
        """Whether the chipset is the i440FX."""
        name = self.machine
        return name == "pc" or name.startswith(("pc-i440fx-", "pc-0.", "pc-1."))

    def boot_order(self, device: Bootable) -> int | None:
        """Return the bootindex of a device; None: the firmware does not try it.

        Either each device says so itself, or <os> lists kinds, and the first device of each counts.
        Of a kind that is listed twice, the last place counts, as in libvirt.
        """
        if device.boot_order is not None:
            return device.boot_order
        places = {kind.dev: place for place, kind in enumerate(self.domain.os.boot_devices, 1)}
        for kind, place in places.items():
            if self._first_bootable(kind) is device:
                return place
        return None

    def _first_bootable(self, kind: str) -> Bootable | None:
        """Find the first device of the kind that <boot dev=> names."""
        devices = self.domain.devices
        if kind == "network":
            return next(iter(devices.interfaces), None)
        kinds = BOOT_DISKS.get(kind, ())
        return next((disk for disk in devices.disks if disk.device in kinds), None)

    def need_device(self, driver: str, feature: str) -> str:
        """Check that the emulator has a device.

        Raises:
            ConfError: "config_unsupported".
        """
        if not self.facts.has_device(driver):
            raise ConfError(
                "config_unsupported",
                f"{feature} needs the device '{driver}', which the emulator {self.facts.binary} "
                "does not have",
            )
        return driver


def device(props: Props) -> Option:
    """Build a -device in JSON, members in order, those that are None left out."""
    return "-device", json_of(props)


def obj(props: Props) -> Option:
    """Build an -object in JSON."""
    return "-object", json_of(props)
