"""The `network` hook scripts, run at each step of a network's life.

Owns: the XML on their standard input. May touch: the scripts, to run them.
Beside `runtime.hooks`, so that workers need not import the network model.
Source: libvirt 9.0 hooks, "/etc/libvirt/hooks/network": <hookData> on standard input.
"""

from __future__ import annotations

from conf.network import Network, NetworkPort, format_network, format_port
from supervisor.runtime.hooks import Hooks


class NetworkHooks:
    """Runs `hooks/network` and the scripts in `hooks/network.d`."""

    def __init__(self, hooks: Hooks) -> None:
        self._hooks = hooks

    async def run(self, network: Network, operation: str, port: NetworkPort | None = None) -> None:
        """Run the scripts at a step that they may refuse: "start", "port-created".

        Raises:
            VirError: HOOK_SCRIPT_FAILED.
        """
        if self._hooks.scripts():
            await self._hooks.run(network.name, operation, hook_data(network, port))

    async def notify(
        self, network: Network, operation: str, port: NetworkPort | None = None, sub: str = "begin"
    ) -> None:
        """Run the scripts after "started", "stopped", "port-deleted": their failure is logged."""
        if self._hooks.scripts():
            await self._hooks.notify(network.name, operation, hook_data(network, port), sub=sub)


def hook_data(network: Network, port: NetworkPort | None) -> str:
    """Format the <hookData> for a script's standard input."""
    parts = [format_network(network, inactive=False)]
    if port is not None:
        parts.append(format_port(port))
    inner = "".join(f"  {line}\n" for part in parts for line in part.splitlines())
    return f"<hookData>\n{inner}</hookData>\n"
