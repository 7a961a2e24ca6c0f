"""Main of libvirtd: command line, configuration, the process tree, signals, shutdown.

Owns: the order of start-up and shutdown, and signals.
May touch: configuration files, sockets, the pid file. May not touch: client bytes.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import resource
import signal
import sys
from pathlib import Path
from typing import Final

import msgspec

from conf.errors import ConfError
from conf.settings import (
    DaemonConfig,
    QemuConfig,
    parse_daemon_config,
    parse_lockd_config,
    parse_logd_config,
    parse_qemu_config,
)
from conf.settings_support import (
    check_security_settings,
    check_session_settings,
    unsupported_settings,
)
from conf.tls_priority import parse_priority
from supervisor.access.roles import Roles
from supervisor.root.access_roles import read_roles
from supervisor.root.admin_socket import AdminSocket
from supervisor.root.command_line import Options, parse
from supervisor.root.folders import let_search, take_folders
from supervisor.root.handlers import TreeHandlers
from supervisor.root.pidfile import AlreadyRunning, PidFile
from supervisor.root.required_services import needs_authd
from supervisor.root.roles import AUTHD, LOGD, SERVICES, SESSION_SERVICES
from supervisor.root.sd_notify import notify
from supervisor.root.sockets import SocketError, client_sockets, client_uri
from supervisor.root.tcp_sockets import TLS
from supervisor.root.tls_files import TlsError, load_tls_files
from supervisor.root.tree import Tree, TreeConfig
from supervisor.runtime.audit import check_audit_level
from supervisor.runtime.capabilities import lacking_capabilities
from supervisor.runtime.event_loop import new_event_loop
from supervisor.runtime.hooks import Hooks
from supervisor.runtime.log import (
    LEVELS,
    Collector,
    Output,
    parse_filters,
    parse_outputs,
    stderr_output,
)
from supervisor.runtime.paths import Paths

READY_S: Final = 30.0
MAX_FILES: Final = 65536  # descriptors a process may have open, where the host allows it
REFUSED: Final = 1
STARTED: Final = b"1"

log = logging.getLogger(__name__)


def main() -> int:
    """Run the daemon; the console script."""
    options = parse(sys.argv[1:])
    os.umask(0o022)
    session = is_session(options)
    ready_fd: int | None = None
    try:
        paths = Paths.session(os.environ) if session else Paths.system(options.root or Path("/"))
        settings = read_settings(options, paths)
        ready_fd = daemonize(paths) if options.daemon else None
        pid_file = PidFile(options.pid_file or paths.daemon_pid_file())
    except (ConfError, AlreadyRunning, OSError, KeyError) as error:
        return report_failure(error, ready_fd)
    try:
        return run(options, paths, settings, ready_fd, session=session)
    except (SocketError, TlsError, ConfError, OSError) as error:
        return report_failure(error, ready_fd)
    finally:
        pid_file.remove()


def is_session(options: Options) -> bool:
    """Return whether this is the daemon of one user."""
    return os.geteuid() != 0 and options.root is None


def report_failure(error: Exception, ready_fd: int | None) -> int:
    """Report a failed start on standard error or to the waiting parent; the exit status."""
    text = f"libvirtd: {error}\n"
    if ready_fd is None:
        sys.stderr.write(text)
    else:
        with contextlib.suppress(OSError):  # the parent has exited: the daemon was ready before
            os.write(ready_fd, text.encode())
    return REFUSED


def read_settings(options: Options, paths: Paths) -> tuple[DaemonConfig, QemuConfig]:
    """Read libvirtd.conf and qemu.conf, and check virtlogd.conf; a missing one means the defaults.

    Raises:
        ConfError: a file has an error, or that of --config is missing.
    """
    file = options.config or paths.config_file()
    if options.config is not None and not file.exists():
        raise ConfError("conf_syntax", f"--config: there is no {file}", str(file))
    daemon, qemu = read_file(file), read_file(paths.qemu_config_file())
    parse_logd_config(read_file(paths.logd_config_file()), str(paths.logd_config_file()))
    # As libvirt: polkit where its policy is installed, which says who may.
    has_policy = not is_session(options) and paths.polkit_policy().exists()
    auth = "polkit" if has_policy else "none"
    config = parse_daemon_config(daemon, str(file), auth_unix_rw=auth)
    parse_log_outputs(config)
    check_audit_level(config, str(file))
    try:
        parse_filters(config.log_filters)
    except ValueError as error:
        raise ConfError("conf_syntax", f"{file}: log_filters: {error}", str(file)) from error
    drivers = parse_qemu_config(qemu, str(paths.qemu_config_file()))
    locks = paths.lockd_config_file()
    lockd = parse_lockd_config(read_file(locks), str(locks))
    drivers = msgspec.structs.replace(drivers, lockd=lockd)
    check_security_settings(config, str(file))
    check_security_settings(drivers, str(paths.qemu_config_file()))
    if is_session(options):
        check_session_settings(drivers, str(paths.qemu_config_file()))
    return config, drivers


def log_unused_settings(config: DaemonConfig, qemu: QemuConfig) -> None:
    """Log which settings have no effect."""
    for file, names in (
        ("libvirtd.conf", unsupported_settings(config)),
        ("qemu.conf", unsupported_settings(qemu)),
    ):
        if names:
            log.warning("%s: these settings have no effect yet: %s", file, ", ".join(names))


def read_file(path: Path) -> bytes:
    """Read a file; a missing one is empty."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""
    except OSError as error:
        raise ConfError("conf_syntax", f"{path}: {error.strerror}", str(path)) from error


def parse_log_outputs(config: DaemonConfig, default: Output | None = None) -> list[Output]:
    """Parse log_outputs.

    Raises:
        ConfError: it has another form.
    """
    try:
        return parse_outputs(config.log_outputs, default or stderr_output())
    except ValueError as error:
        raise ConfError("conf_syntax", f"log_outputs: {error}") from error


def daemonize(paths: Paths) -> int:
    """Fork into the background; the parent exits when the daemon is ready or has failed.

    Returns:
        The descriptor to write `STARTED` or an error to.
    """
    reading, writing = os.pipe()
    if os.fork() != 0:
        os.close(writing)
        report = b""
        while report != STARTED and (more := os.read(reading, 4096)):
            report += more
        if report != STARTED:
            message = report.decode(errors="replace")
            sys.stderr.write(message or f"libvirtd: it did not start; see {paths.daemon_log()}\n")
            sys.stderr.flush()
        os._exit(0 if report == STARTED else REFUSED)
    os.close(reading)
    os.setsid()
    null = os.open(os.devnull, os.O_RDWR)
    for number in range(3):
        os.dup2(null, number)
    os.close(null)
    return writing


def run(
    options: Options,
    paths: Paths,
    settings: tuple[DaemonConfig, QemuConfig],
    ready_fd: int | None,
    *,
    session: bool,
) -> int:
    """Start the tree, wait for the shutdown, stop the tree.

    Raises:
        SocketError: a listening socket cannot be bound.
        TlsError: the certificates cannot be used.
        OSError: a directory cannot be made.
    """
    config, qemu = settings
    raise_file_limit()
    for folder in (paths.run, paths.status_dir(), paths.lib, paths.domain_configs(), paths.log):
        folder.mkdir(parents=True, exist_ok=True)
    sockets = client_sockets(paths, config, os.environ, session=session, listen=options.listen)
    level = min(LEVELS[2] if options.verbose else logging.ERROR, LEVELS.get(config.log_level, 30))
    default = Output(level, "file", str(paths.daemon_log())) if ready_fd is not None else None
    outputs = parse_log_outputs(config, default)
    collector = Collector(level)
    collector.filter_by(config.log_filters)
    root = "/" if options.root is None else str(options.root)
    tree_config = TreeConfig(root, session, config, qemu, sockets.sockets)
    tree_config.pid_file = lambda driver, name: paths.for_driver(driver).pid_file(name)
    tree_config.services = SESSION_SERVICES if session else SERVICES
    tree_config.roles = read_roles(config, paths.roles_file())
    if needs_authd(config, tree_config):
        tree_config.services += (AUTHD,)
    if any(name.startswith(TLS) for name in sockets.sockets):
        parse_priority(config.tls_priority)
        load_tls_files(config, paths, session=session)  # wrong ones refuse the start
        tree_config.read_tls = lambda config: load_tls_files(config, paths, session=session)
    if any(paths.logd().glob("*.json")):  # guests of an earlier daemon write to them
        tree_config.services = (*tree_config.services, LOGD)
    tree = Tree(tree_config, collector)
    collector.write_to(outputs)
    take_folders(paths)
    if options.root is not None:
        let_search(options.root)
    tree_config.default_output = default or stderr_output()
    try:
        with asyncio.Runner(loop_factory=new_event_loop) as runner:
            return runner.run(Daemon(options, paths, settings, tree, collector, ready_fd).run())
    finally:
        sockets.close()
        collector.close()


def raise_file_limit() -> None:
    """Raise RLIMIT_NOFILE for many clients and guests; children inherit it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    limit = MAX_FILES if hard == resource.RLIM_INFINITY else min(hard, MAX_FILES)
    if soft != resource.RLIM_INFINITY and soft < limit:
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))


class Daemon:
    """The running daemon."""

    def __init__(
        self,
        options: Options,
        paths: Paths,
        settings: tuple[DaemonConfig, QemuConfig],
        tree: Tree,
        collector: Collector,
        ready_fd: int | None,
    ) -> None:
        self._options = options
        self._timeout_s = options.timeout_s
        self._settings = settings
        self._paths = paths
        self._hooks = Hooks(paths.hook("daemon"))
        self._tree = tree
        self._collector = collector
        self._ready_fd = ready_fd
        self._session = tree.config.session
        self._shutdown = asyncio.Event()
        self._idle: asyncio.TimerHandle | None = None
        self._loop: asyncio.AbstractEventLoop
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self) -> int:
        """Run until a signal or --timeout; the exit status."""
        self._loop = asyncio.get_running_loop()
        self._collector.listen(self._loop)
        log_unused_settings(*self._settings)
        for number in (signal.SIGTERM, signal.SIGINT):
            self._loop.add_signal_handler(number, self._request_shutdown, f"signal {number.name}")
        self._loop.add_signal_handler(signal.SIGHUP, self._reload)
        control = AdminSocket(
            self._paths.control_socket(), self._tree.status, self._tree.explain_access
        )
        await control.start()
        await self._hooks.notify("-", "start", "", sub="-", extra="start")
        self._tree.start(TreeHandlers)
        if await self._wait_ready():
            self._notify_ready()
        self._tree.set_timeout = self._set_timeout
        self._tree.on_change.append(self._update_idle_timer)
        self._update_idle_timer()
        await self._shutdown.wait()
        notify(os.environ, "STOPPING=1")
        await self._hooks.notify("-", "shutdown", "", sub="-", extra="shutdown")
        await self._tree.stop()
        control.close()
        return 0

    async def _wait_ready(self) -> bool:
        """Wait for the services; whether to report READY: not if the shutdown came first."""
        ready = asyncio.create_task(self._tree.wait_ready(READY_S))
        ending = asyncio.create_task(self._shutdown.wait())
        await asyncio.wait((ready, ending), return_when=asyncio.FIRST_COMPLETED)
        ending.cancel()
        if not ready.done():
            ready.cancel()
            return False
        if not ready.result():  # the others serve; clients get errors for the rest
            log.error("not every service was ready in %.0f s; see virtvisorctl status", READY_S)
        return True

    def _notify_ready(self) -> None:
        if os.geteuid() == 0 and (lacking := lacking_capabilities()):
            log.info(
                "the daemon has no %s here: what needs them is refused by the kernel",
                ", ".join(lacking),
            )
        log.info("libvirtd is ready: %s", self._paths.socket())
        notify(os.environ, "READY=1")
        if self._ready_fd is None:
            uri = client_uri(self._paths, self._settings[0], session=self._session)
            sys.stderr.write(f"libvirtd is ready: virsh -c '{uri}'\n")
        else:
            with contextlib.suppress(BrokenPipeError):
                os.write(self._ready_fd, STARTED)

    def _request_shutdown(self, why: str) -> None:
        log.info("libvirtd shuts down: %s", why)
        self._shutdown.set()

    def _reload(self) -> None:
        task = self._loop.create_task(self._reload_config())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _reload_config(self) -> None:
        notify(os.environ, "RELOADING=1")
        try:
            # In a thread: a user or a group of roles.conf may be in a directory on the network.
            config, qemu, roles = await asyncio.to_thread(self._read_again)
            if needs_authd(config, self._tree.config):
                self._tree.ensure_service(AUTHD)
            self._tree.reload(config, qemu, roles)
            log_unused_settings(config, qemu)
            log.info("the configuration is reloaded")
        except ConfError as error:
            log.error("the configuration is not reloaded: %s", error)
        await self._hooks.notify("-", "reload", "", sub="begin", extra="SIGHUP")
        notify(os.environ, "READY=1")

    def _read_again(self) -> tuple[DaemonConfig, QemuConfig, Roles]:
        """Read the files; access_drivers are those of the start.

        A process that is restarted would else check other rules than its neighbours.

        Raises:
            ConfError: a file has an error.
        """
        config, qemu = read_settings(self._options, self._paths)
        drivers = self._settings[0].access_drivers
        if config.access_drivers != drivers:
            log.warning("access_drivers is changed at the next start of the daemon")
            config = msgspec.structs.replace(config, access_drivers=drivers)
        return config, qemu, read_roles(config, self._paths.roles_file())

    def _set_timeout(self, seconds: int) -> None:
        log.info("an administrator set the timeout: %d s", seconds)
        self._timeout_s = seconds or None
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None
        self._update_idle_timer()

    def _update_idle_timer(self) -> None:
        if self._timeout_s is None:
            return
        idle = not self._tree.busy and not self._tree.workers()
        if not idle and self._idle is not None:
            self._idle.cancel()
            self._idle = None
        elif idle and self._idle is None:
            why = f"idle for {self._timeout_s} s"
            self._idle = self._loop.call_later(self._timeout_s, self._request_shutdown, why)


if __name__ == "__main__":
    sys.exit(main())
