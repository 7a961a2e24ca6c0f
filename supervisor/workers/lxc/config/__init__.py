"""From a container's document to the configuration that liblxc's tools read. Pure."""

from supervisor.workers.lxc.config.host_facts import Card, Facts
from supervisor.workers.lxc.config.plan import plan_config

__all__ = ["Card", "Facts", "plan_config"]
