"""The models of every device of a domain."""

from conf.domain.devices.devices import Devices

__all__ = ["Devices"]
