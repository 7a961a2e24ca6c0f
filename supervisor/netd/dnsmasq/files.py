"""dnsmasq's files on disk: configuration, hosts, names, and the lease script.

Owns: the files that `DnsmasqPaths` names, and the lease script. May not touch: their content.
"""

from __future__ import annotations

import contextlib
import pwd
import sys
from pathlib import Path
from typing import Final

from supervisor.netd.dnsmasq import lease_script
from supervisor.netd.dnsmasq.config import DnsmasqConfig
from supervisor.netd.dnsmasq.process import DnsmasqPaths
from supervisor.runtime.atomic_file import write_file

READABLE: Final = 0o644  # dnsmasq reads them as its own user
EXECUTABLE: Final = 0o755
OWN_USER: Final = "libvirt-dnsmasq"  # created by distributions' packages
#: A new network has no leases: dnsmasq's question for them needs no Python then.
SCRIPT: Final = """\
#!/bin/sh
[ "$1" = init ] && [ ! -s "$VIRTVISOR_LEASES" ] && exit 0
exec '{python}' -IS '{script}' "$@"
"""


def server_user() -> str:
    """Return the user that dnsmasq changes to; "": its own default."""
    try:
        return pwd.getpwnam(OWN_USER).pw_name
    except KeyError:
        return ""


def install_script(folder: Path) -> None:
    """Install the lease script; it stays usable when netd ends or is upgraded.

    Raises:
        OSError: it cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    program = folder / "lease-script.py"
    replace(program, Path(lease_script.__file__).read_text(encoding="utf-8"), READABLE)
    text = SCRIPT.format(python=quoted(sys.executable), script=quoted(str(program)))
    replace(folder / "lease-script", text, EXECUTABLE)


def write_config(config: DnsmasqConfig) -> bool:
    """Write dnsmasq's files; return whether the main one, which it reads only once, changed.

    A comment is no change: libvirt's daemon has another one above the same settings.

    Raises:
        OSError: a file cannot be written.
    """
    paths = config.paths
    paths.config.parent.mkdir(parents=True, exist_ok=True)
    replace(paths.hosts, config.hosts, READABLE)
    replace(paths.names, config.names, READABLE)
    before = ""
    with contextlib.suppress(OSError, ValueError):
        before = paths.config.read_text(encoding="utf-8")
    written = replace(paths.config, config.config, READABLE)
    return written and settings(before) != settings(config.config)


def settings(config: str) -> list[str]:
    """List the lines of a configuration that dnsmasq reads. Pure."""
    return [line for line in config.splitlines() if line and not line.startswith("#")]


def remove_config(paths: DnsmasqPaths) -> None:
    """Remove dnsmasq's files, but not the leases: the network may be started again.

    Raises:
        OSError: a file cannot be removed.
    """
    for path in (paths.config, paths.hosts, paths.names, paths.pid):
        with contextlib.suppress(FileNotFoundError):
            path.unlink()


def replace(path: Path, text: str, mode: int) -> bool:
    """Write a file unless it has that content already; return whether it was written."""
    with contextlib.suppress(OSError, ValueError):
        if path.read_text(encoding="utf-8") == text:
            return False
    write_file(path, text.encode(), mode=mode, durable=False)
    path.chmod(mode)
    return True


def quoted(path: str) -> str:
    """Escape a path for single quotes in the shell."""
    return path.replace("'", "'\\''")
