"""The administrator's `network` script: told of each step of a network's life.

Owns: what it is given. May touch: the script, to run it.
Source: libvirt 9.0 hooks, "/etc/libvirt/hooks/network": <hookData> on standard input.
"""

from __future__ import annotations

from conf.network import Network, NetworkPort, format_network, format_port
from supervisor.runtime.hooks import Hooks


class NetworkHooks:
    """Runs `hooks/network` and the scripts in `hooks/network.d`."""

    def __init__(self, hooks: Hooks) -> None:
        """Run these."""
        self._hooks = hooks

    async def run(self, network: Network, operation: str, port: NetworkPort | None = None) -> None:
        """Tell the scripts of what they may refuse: "start", "port-created".

        Raises:
            VirError: HOOK_SCRIPT_FAILED.
        """
        if self._hooks.scripts():
            await self._hooks.run(network.name, operation, hook_data(network, port))

    async def notify(
        self, network: Network, operation: str, port: NetworkPort | None = None, sub: str = "begin"
    ) -> None:
        """Tell the scripts of what has happened: "started", "stopped", "port-deleted"."""
        if self._hooks.scripts():
            await self._hooks.notify(network.name, operation, hook_data(network, port), sub=sub)


def hook_data(network: Network, port: NetworkPort | None) -> str:
    """The document that a script reads."""
    parts = [format_network(network, inactive=False)]
    if port is not None:
        parts.append(format_port(port))
    inner = "".join(f"  {line}\n" for part in parts for line in part.splitlines())
    return f"<hookData>\n{inner}</hookData>\n"
