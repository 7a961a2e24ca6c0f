"""The daemon's and the QEMU driver's settings: every key of libvirt's files, its type and default.

Owns: `DaemonConfig` and `QemuConfig` and what a value may be.
May not touch: files; the caller reads them.
Source: libvirtd.conf and qemu.conf as Debian's libvirt 9.0 documents them.
"""

from __future__ import annotations

from typing import Final, TypeVar

import msgspec

from conf.errors import ConfError
from conf.lockd_settings import LockdConfig, check_lockd_config
from conf.settings_syntax import Value, parse
from conf.types.mode import parse_mode

Settings = TypeVar("Settings", bound=msgspec.Struct)

PORTS: Final = range(1, 65536)
MAX_USER: Final = (1 << 31) - 1  # the kernel has more, but not every program
MAX_BACKUPS: Final = 32  # of a rotated log, as in libvirt


class DaemonConfig(msgspec.Struct, frozen=True, kw_only=True):
    """libvirtd.conf. What no part of this build acts on yet is accepted and kept."""

    listen_tls: bool = True
    listen_tcp: bool = False
    tls_port: str = "16514"
    tcp_port: str = "16509"
    listen_addr: str = ""  # "": every address of the host
    mdns_adv: bool = False  # announce the host by mDNS (libvirt before 8.0)
    mdns_name: str = ""  # "": "Virtualization Host HOSTNAME"
    unix_sock_group: str = ""  # "" leaves the daemon's own group
    unix_sock_ro_perms: str = "0777"
    unix_sock_rw_perms: str = ""  # "": 0770 with a group of its own, else 0700
    unix_sock_admin_perms: str = "0700"
    unix_sock_dir: str = ""
    auth_unix_ro: str = "none"
    auth_unix_rw: str = "none"
    auth_tcp: str = "sasl"
    auth_tls: str = "none"
    tcp_min_ssf: int = 112
    access_drivers: list[str] = []
    key_file: str = ""
    cert_file: str = ""
    ca_file: str = ""
    crl_file: str = ""
    tls_no_sanity_certificate: bool = False
    tls_no_verify_certificate: bool = False
    tls_allowed_dn_list: list[str] = []
    tls_priority: str = ""
    sasl_allowed_username_list: list[str] = []
    max_clients: int = 5000
    max_queued_clients: int = 1000
    max_anonymous_clients: int = 20
    min_workers: int = 5
    max_workers: int = 20
    prio_workers: int = 5
    max_requests: int = 20
    max_client_requests: int = 5
    admin_min_workers: int = 1
    admin_max_workers: int = 5
    admin_max_clients: int = 5000  # libvirtd.conf's comment says 5
    admin_max_queued_clients: int = 5
    admin_max_client_requests: int = 5
    admin_keepalive_interval: int = 5
    admin_keepalive_count: int = 5
    admin_keepalive_required: bool = False
    log_level: int = 3  # 1 debug, 2 information, 3 warnings, 4 errors
    log_filters: str = ""
    log_outputs: str = ""
    log_buffer_size: int = 64
    audit_level: int = 1
    audit_logging: bool = False
    host_uuid: str = ""
    host_uuid_source: str = "smbios"
    keepalive_interval: int = 5  # seconds; 0 or less: none are asked
    keepalive_count: int = 5
    keepalive_required: bool = False
    ovs_timeout: int = 5


class QemuConfig(msgspec.Struct, frozen=True, kw_only=True):
    """qemu.conf. What no part of this build acts on yet is accepted and kept."""

    default_tls_x509_cert_dir: str = "/etc/pki/qemu"
    default_tls_x509_verify: bool = True
    default_tls_x509_secret_uuid: str = ""
    vnc_listen: str = "127.0.0.1"
    vnc_auto_unix_socket: bool = False
    vnc_tls: bool = False
    vnc_tls_x509_cert_dir: str = ""
    vnc_tls_x509_verify: bool = False
    vnc_tls_x509_secret_uuid: str = ""
    vnc_password: str = ""
    vnc_sasl: bool = False
    vnc_sasl_dir: str = ""
    vnc_allow_host_audio: bool = False
    spice_listen: str = "127.0.0.1"
    spice_tls: bool = False
    spice_tls_x509_cert_dir: str = ""
    spice_auto_unix_socket: bool = False
    spice_password: str = ""
    spice_sasl: bool = False
    spice_sasl_dir: str = ""
    chardev_tls: bool = False
    chardev_tls_x509_cert_dir: str = ""
    chardev_tls_x509_verify: bool = False
    chardev_tls_x509_secret_uuid: str = ""
    vxhs_tls: bool = False
    vxhs_tls_x509_cert_dir: str = ""
    vxhs_tls_x509_secret_uuid: str = ""
    nbd_tls: bool = False
    nbd_tls_x509_cert_dir: str = ""
    nbd_tls_x509_secret_uuid: str = ""
    migrate_tls_x509_cert_dir: str = ""
    migrate_tls_x509_verify: bool = False
    migrate_tls_x509_secret_uuid: str = ""
    migrate_tls_force: bool = False
    backup_tls_x509_cert_dir: str = ""
    backup_tls_x509_verify: bool = False
    backup_tls_x509_secret_uuid: str = ""
    nographics_allow_host_audio: bool = False
    remote_display_port_min: int = 5900
    remote_display_port_max: int = 65535
    remote_websocket_port_min: int = 5700
    remote_websocket_port_max: int = 65535
    security_driver: list[str] = []
    security_default_confined: bool = True
    security_require_confined: bool = False
    user: str = ""  # "": libvirt-qemu and its group, by their number on Debian if need be
    group: str = ""  # "": kvm, or the user's own
    dynamic_users: bool = False  # ours: each guest has a user of its own
    dynamic_users_min: int = 1_900_000_000
    dynamic_users_max: int = 1_900_065_535
    dynamic_ownership: bool = True
    remember_owner: bool = True
    cgroup_controllers: list[str] = []
    cgroup_device_acl: list[str] = []
    save_image_format: str = "raw"
    dump_image_format: str = "raw"
    snapshot_image_format: str = "raw"
    auto_dump_path: str = ""  # "": lib/qemu/dump
    auto_dump_bypass_cache: bool = False
    auto_start_bypass_cache: bool = False
    hugetlbfs_mount: list[str] = []
    bridge_helper: str = "/usr/lib/qemu/qemu-bridge-helper"
    set_process_name: bool = False
    max_processes: int = 0
    max_files: int = 0
    max_threads_per_process: int = 0
    max_core: str = ""  # bytes or "unlimited"; "": 0
    dump_guest_core: bool = False
    mac_filter: bool = False
    relaxed_acs_check: bool = False
    allow_disk_format_probing: bool = False
    lock_manager: str = ""
    max_queued: int = 0
    keepalive_interval: int = 5
    keepalive_count: int = 5
    seccomp_sandbox: int = -1
    migration_address: str = "0.0.0.0"
    migration_host: str = ""
    migration_port_min: int = 49152
    migration_port_max: int = 49215
    log_timestamp: bool = True
    nvram: list[str] = []
    stdio_handler: str = "logd"  # or "file": QEMU writes its log itself
    gluster_debug_level: int = 4
    virtiofsd_debug: bool = False
    namespaces: list[str] | None = None  # None: "mount" where the kernel allows it
    memory_backing_dir: str = ""  # "": lib/qemu/ram
    pr_helper: str = "/usr/bin/qemu-pr-helper"
    slirp_helper: str = "/usr/bin/slirp-helper"
    dbus_daemon: str = "/usr/bin/dbus-daemon"
    swtpm_user: str = "tss"
    swtpm_group: str = "tss"
    capability_filters: list[str] = []
    deprecation_behavior: str = "none"
    sched_core: str = "none"
    lockd: LockdConfig = LockdConfig()  # of its own file


class LogdConfig(msgspec.Struct, frozen=True, kw_only=True):
    """virtlogd.conf: how large guests' logs become; its other keys are for a daemon of its own.

    Source: virtlogd.conf of Debian's libvirt 9.0.
    """

    log_level: int = 3
    log_filters: str = ""
    log_outputs: str = ""
    max_clients: int = 1024
    admin_max_clients: int = 5
    max_size: int = 2 * 1024 * 1024  # bytes of a file before it is rotated
    max_backups: int = 3  # rotated files that are kept


def parse_logd_config(data: bytes | str, origin: str) -> LogdConfig:
    """Read virtlogd.conf.

    Raises:
        ConfError: kind "conf_syntax", naming file, line and key.
    """
    config = _parse_settings(LogdConfig, data, origin)
    if config.max_size < 1:
        raise ConfError("conf_syntax", f"{origin}: max_size must be 1 or more", origin)
    if config.max_backups not in range(MAX_BACKUPS + 1):
        detail = f"{origin}: max_backups must be from 0 to {MAX_BACKUPS}"
        raise ConfError("conf_syntax", detail, origin)
    return config


def parse_lockd_config(data: bytes | str, origin: str) -> LockdConfig:
    """Read qemu-lockd.conf.

    Raises:
        ConfError: kind "conf_syntax", naming file, line and key.
    """
    return check_lockd_config(_parse_settings(LockdConfig, data, origin), origin)


def parse_daemon_config(
    data: bytes | str, origin: str, *, auth_unix_rw: str = "none"
) -> DaemonConfig:
    """Read libvirtd.conf.

    Args:
        data: the file.
        origin: how errors name it.
        auth_unix_rw: what counts where the file does not say.

    Raises:
        ConfError: kind "conf_syntax", naming file, line and key.
    """
    config = _parse_settings(DaemonConfig, data, origin, auth_unix_rw=auth_unix_rw)
    for name in ("auth_unix_ro", "auth_unix_rw"):
        if getattr(config, name) not in ("none", "polkit", "sasl"):
            detail = f'{origin}: {name} is "none", "polkit" or "sasl"'
            raise ConfError("conf_syntax", detail, origin)
    for name in ("auth_tcp", "auth_tls"):
        if getattr(config, name) not in ("none", "sasl"):
            detail = f'{origin}: {name} is "none" or "sasl"'
            raise ConfError("conf_syntax", detail, origin)
    for name in ("unix_sock_ro_perms", "unix_sock_rw_perms", "unix_sock_admin_perms"):
        _mode(getattr(config, name) or "0", f"{origin}: {name}")
    limits = ("max_clients", "max_client_requests", "admin_max_clients")
    for name in (*limits, "admin_max_client_requests"):
        if getattr(config, name) < 1:
            raise ConfError("conf_syntax", f"{origin}: {name} must be 1 or more", origin)
    return config


def parse_qemu_config(data: bytes | str, origin: str) -> QemuConfig:
    """Read qemu.conf.

    Raises:
        ConfError: kind "conf_syntax", naming file, line and key.
    """
    config = _parse_settings(QemuConfig, data, origin)
    ranges = ("remote_display_port", "remote_websocket_port", "migration_port")
    for name in ranges:
        low, high = getattr(config, f"{name}_min"), getattr(config, f"{name}_max")
        if low not in PORTS or high not in PORTS or low > high:
            detail = f"{origin}: {name}_min and {name}_max must be ports, the first not the higher"
            raise ConfError("conf_syntax", detail, origin)
    if not 0 < config.dynamic_users_min <= config.dynamic_users_max < MAX_USER:
        detail = f"{origin}: dynamic_users_min and dynamic_users_max must be a range of users"
        raise ConfError("conf_syntax", detail, origin)
    if config.dynamic_users and not config.dynamic_ownership:
        detail = f"{origin}: dynamic_users needs dynamic_ownership"
        raise ConfError("conf_syntax", detail, origin)
    for namespace in config.namespaces or []:
        if namespace != "mount":
            raise ConfError("conf_syntax", f"{origin}: Unknown namespace: {namespace}", origin)
    if config.stdio_handler not in ("logd", "file"):
        detail = f"{origin}: Unknown stdio handler {config.stdio_handler}"
        raise ConfError("conf_syntax", detail, origin)
    return config


def socket_modes(config: DaemonConfig) -> tuple[int, int, int]:
    """Choose the permissions of the read-write, the read-only and the admin socket."""
    default = "0770" if config.unix_sock_group else "0700"
    if config.auth_unix_rw != "none":
        default = "0777"  # who connects must say who it is
    read_write = config.unix_sock_rw_perms or default
    return (
        _mode(read_write, "unix_sock_rw_perms"),
        _mode(config.unix_sock_ro_perms, "unix_sock_ro_perms"),
        _mode(config.unix_sock_admin_perms, "unix_sock_admin_perms"),
    )


def _mode(text: str, name: str) -> int:
    try:
        return parse_mode(text)
    except ValueError:
        detail = f'{name} is a mode in octal such as "0770", not "{text}"'
        raise ConfError("conf_syntax", detail) from None


def _parse_settings(
    kind: type[Settings], data: bytes | str, origin: str, **defaults: object
) -> Settings:
    """Read one file into its settings."""
    fields = {field.name: field for field in msgspec.structs.fields(kind)}
    fields.pop("lockd", None)  # which has a file of its own
    values = defaults
    for key, (value, line) in parse(data, origin).items():
        if key not in fields:
            detail = f"{origin}:{line}: there is no setting '{key}'"
            raise ConfError("conf_syntax", detail, f"{origin}:{line}")
        values[key] = _convert(fields[key].type, value, f"{origin}:{line}: {key}")
    return kind(**values)


def _convert(kind: object, value: Value, where: str) -> object:
    if kind in (bool, bool | None) and value in (0, 1):
        return bool(value)
    if kind is int and isinstance(value, int):
        return value
    if kind is str and isinstance(value, (str, int)):
        return str(value)
    if kind in (list[str], list[str] | None) and isinstance(value, (str, list)):
        return [value] if isinstance(value, str) else value
    descriptions = {bool: "0 or 1", int: "a number", str: "a string"}
    names = {kind_: values for kind_, values in descriptions.items() if kind_ is kind}
    expected = next(iter(names.values()), "a list of strings")
    raise ConfError("conf_syntax", f"{where} takes {expected}, not {value!r}", where)
