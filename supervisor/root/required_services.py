"""Which services a configuration needs beside those that always run.

Owns: that decision. Pure.
"""

from __future__ import annotations

from conf.settings import DaemonConfig
from supervisor.root.tree import TreeConfig


def needs_authd(config: DaemonConfig, tree: TreeConfig) -> bool:
    """Return whether authd runs: for authentication, polkit's permissions, or mDNS."""
    if "polkit" in config.access_drivers:
        return True
    is_announced = config.mdns_adv and not tree.session
    return is_announced or demands_authentication(config, listens=set(tree.sockets))


def demands_authentication(config: DaemonConfig, *, listens: set[str]) -> bool:
    """Return whether clients of some socket must authenticate, for which authd runs."""
    schemes = {
        "rw": config.auth_unix_rw,
        "ro": config.auth_unix_ro,
        "tcp": config.auth_tcp,
        "tls": config.auth_tls,
    }
    kinds = {name.partition(":")[0] for name in listens}
    return any(schemes[kind] != "none" for kind in kinds & schemes.keys())
