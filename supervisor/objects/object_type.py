"""Object type: the names of one type of object, and the errors about objects of it.

Owns: that description and the texts of these errors. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass

from rpc.errors import ErrorCode, VirError
from supervisor.dispatch.service_errors import ServiceErrors


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectType:
    """A type of object that clients define: domain, network, pool, secret, filter."""

    name: str  # "network"
    long_name: str  # in errors about unknown objects: "storage pool"
    edit_command: str  # virsh's command that changes a definition
    not_found: ErrorCode  # NO_DOMAIN, NO_NETWORK, …
    errors: ServiceErrors  # of the service or driver
    conf_errors: ServiceErrors  # of what libvirt checks in src/conf, for domains another domain
    not_active_text: str = "{long_name} '{name}' is not active"
    transient_text: str = "cannot change persistent config of a transient {long_name}"

    def no_such(self, which: str) -> VirError:
        """NO_DOMAIN, NO_NETWORK, …: the object does not exist.

        Args:
            which: names the object, "with matching name 'x'".
        """
        return self.errors.error(self.not_found, f"no {self.long_name} {which}")

    def conflict(self, detail: str) -> VirError:
        """OPERATION_FAILED: another object has the name or UUID."""
        return self.conf_errors.operation_failed(detail)

    def not_active(self, name: str) -> VirError:
        """OPERATION_INVALID: the call needs an active object."""
        text = self.not_active_text.format(long_name=self.long_name, name=name)
        return self.conf_errors.operation_invalid(text)

    def not_persistent(self, name: str) -> VirError:
        """OPERATION_INVALID: the call needs a persistent definition."""
        text = self.transient_text.format(long_name=self.long_name, name=name)
        return self.conf_errors.operation_invalid(text)
