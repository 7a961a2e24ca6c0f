"""The configuration of liblxc for a container's domain XML. Pure."""

from supervisor.workers.lxc.config.host_facts import HostFacts, LxcInterface
from supervisor.workers.lxc.config.plan import plan_config

__all__ = ["HostFacts", "LxcInterface", "plan_config"]
