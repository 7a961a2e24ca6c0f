"""The models of every device of a domain."""

from conf.domain.devices.container import Devices

__all__ = ["Devices"]
