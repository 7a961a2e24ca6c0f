"""From a container's document to the configuration that liblxc's tools read. Pure."""

from supervisor.workers.lxc.config.host_facts import HostFacts, LxcInterface
from supervisor.workers.lxc.config.plan import plan_config

__all__ = ["HostFacts", "LxcInterface", "plan_config"]
