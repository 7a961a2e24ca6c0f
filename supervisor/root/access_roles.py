"""roles.conf: read at the start and at SIGHUP, where access_drivers names "roles".

Owns: reading it, and looking its users and groups up on the host.
May touch: that file, the host's users. May not touch: what rules mean.
"""

from __future__ import annotations

import grp
import pwd
from pathlib import Path

from conf.errors import ConfError
from conf.settings import DaemonConfig
from supervisor.access.roles import Roles, parse_roles

DRIVER = "roles"


def read_roles(config: DaemonConfig, path: Path) -> Roles:
    """Read the file, if the configuration asks for it.

    Raises:
        ConfError: it is not there, cannot be read, or has a mistake.
    """
    if DRIVER not in config.access_drivers:
        return Roles()
    try:
        data = path.read_bytes()
    except OSError as error:
        detail = f'{path}: access_drivers names "roles", and the file of roles: {error.strerror}'
        raise ConfError("conf_syntax", detail, str(path)) from error
    return parse_roles(data, str(path), user_id, group_id)


def user_id(name: str) -> int:
    """Look up the number of a user of the host.

    Raises:
        KeyError: there is none.
    """
    return pwd.getpwnam(name).pw_uid


def group_id(name: str) -> int:
    """Look up the number of a group of the host.

    Raises:
        KeyError: there is none.
    """
    return grp.getgrnam(name).gr_gid
