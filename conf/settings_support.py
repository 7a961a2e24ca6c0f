"""Settings of libvirtd.conf and qemu.conf that are accepted and not implemented.

Owns: their names. Pure. Who implements a setting removes it from its list.

A setting that is a protection is refused instead: ignoring it would leave open what it closes.
"""

from __future__ import annotations

from typing import Final

from conf.errors import ConfError
from conf.settings import DaemonConfig, QemuConfig

UNSUPPORTED_DAEMON_SETTINGS: Final = frozenset(
    {
        "min_workers", "max_workers",
        "prio_workers", "max_requests", "admin_min_workers", "admin_max_workers",
        "admin_max_queued_clients", "admin_keepalive_required", "log_buffer_size",
        "host_uuid_source", "keepalive_required", "ovs_timeout",
    }
)  # fmt: skip
UNSUPPORTED_QEMU_SETTINGS: Final = frozenset(
    {
        "capability_filters", "sched_core", "chardev_tls",
        "chardev_tls_x509_cert_dir", "chardev_tls_x509_verify", "chardev_tls_x509_secret_uuid",
        "vxhs_tls", "vxhs_tls_x509_cert_dir", "vxhs_tls_x509_secret_uuid", "nbd_tls",
        "nbd_tls_x509_cert_dir", "nbd_tls_x509_secret_uuid", "migrate_tls_x509_cert_dir",
        "migrate_tls_x509_verify", "migrate_tls_x509_secret_uuid", "migrate_tls_force",
        "default_tls_x509_verify", "default_tls_x509_secret_uuid", "vnc_tls_x509_verify",
        "vnc_tls_x509_secret_uuid", "migration_address", "migration_host", "migration_port_min",
        "migration_port_max", "bridge_helper", "pr_helper",
        "slirp_helper", "dbus_daemon", "virtiofsd_debug",
        "vnc_auto_unix_socket", "spice_auto_unix_socket", "vnc_sasl_dir", "spice_sasl_dir",
        "vnc_allow_host_audio", "nographics_allow_host_audio",
        "max_threads_per_process", "dump_guest_core", "mac_filter",
        "relaxed_acs_check", "allow_disk_format_probing", "max_queued",
        "keepalive_interval", "keepalive_count", "log_timestamp",
        "gluster_debug_level", "deprecation_behavior",
    }
)  # fmt: skip
#: Security drivers that this build lacks; it has "dac", a user of the guest's own.
UNSUPPORTED_SECURITY_DRIVERS: Final = frozenset({"apparmor", "selinux"})
#: "nop" locks nothing, as in libvirt; "sanlock" needs its daemon.
LOCK_MANAGERS: Final = frozenset({"", "nop", "lockd"})
LOCK_REMEDY: Final = (
    'set it to "lockd", which locks images against other hosts by their file system, or remove it '
    "to run without"
)
#: What `access_drivers` may name; "none" allows everything, as in libvirt.
ACCESS_DRIVERS: Final = frozenset({"none", "polkit", "roles"})


def check_session_settings(config: QemuConfig, origin: str) -> None:
    """Refuse what only root's daemon can do.

    Raises:
        ConfError: kind "conf_syntax".
    """
    for namespace in config.namespaces or []:
        detail = f"{origin}: cannot enable namespace {namespace} in session mode"
        raise ConfError("conf_syntax", detail, origin)
    if config.dynamic_users:
        detail = f"{origin}: dynamic_users needs a daemon of root's"
        raise ConfError("conf_syntax", detail, origin)


def unsupported_settings(config: DaemonConfig | QemuConfig) -> list[str]:
    """List the settings that differ from their default and are not implemented."""
    names = (
        UNSUPPORTED_DAEMON_SETTINGS
        if isinstance(config, DaemonConfig)
        else UNSUPPORTED_QEMU_SETTINGS
    )
    default = type(config)()
    changed = (n for n in config.__struct_fields__ if getattr(config, n) != getattr(default, n))
    return [name for name in changed if name in names]


def check_security_settings(config: DaemonConfig | QemuConfig, origin: str) -> None:
    """Refuse settings of protections that are not implemented.

    Raises:
        ConfError: kind "conf_syntax".
    """
    if isinstance(config, DaemonConfig):
        wrong = "access_drivers" if set(config.access_drivers) - ACCESS_DRIVERS else ""
    elif config.security_require_confined:
        wrong = "security_require_confined"
    elif config.lock_manager not in LOCK_MANAGERS:
        wrong = "lock_manager"
    else:
        wrong = (
            "security_driver" if UNSUPPORTED_SECURITY_DRIVERS & set(config.security_driver) else ""
        )
    if wrong:
        remedy = LOCK_REMEDY if wrong == "lock_manager" else "remove it to run without"
        detail = f"{origin}: {wrong} asks for protection that this build does not have; {remedy}"
        raise ConfError("conf_syntax", detail, origin)
