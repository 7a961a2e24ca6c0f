"""Requests to netd: ports of guests' interfaces, and guests' addresses.

Sent by workers. Clients' calls on networks are `supervisor.messages.calls.ClientRequest`.
"""

from __future__ import annotations

import msgspec

from ipc import Ack, Descriptor, Request


class PortAttached(msgspec.Struct, frozen=True, kw_only=True):
    """An attached interface; the receiver closes the descriptors."""

    interface: str  # the <interface> of the live XML: target dev, actual type, source
    tap: str  # the name of the host's device
    taps: list[Descriptor]  # one a queue, for QEMU's fd= or fds=
    vhosts: list[Descriptor]  # one a queue, or none: QEMU then moves the packets itself
    host_mtu: int  # of a virtio interface; 0: not set
    peer: str = ""  # of a container's interface: the device that is moved into it


class AttachPort(Request[PortAttached], frozen=True, kw_only=True, tag="netd.attach_port"):
    """Create the host device of an <interface> of type network, bridge, ethernet or direct.

    The port is the guest's until `DetachPort`: it outlives the worker and netd. A failed call
    removes what it created.
    Errors: NO_NETWORK; OPERATION_INVALID for a network that is not active; CONFIG_UNSUPPORTED for
    types that are not supported, in session mode all of them; SYSTEM_ERROR for what the kernel
    refuses; HOOK_SCRIPT_FAILED.
    """

    deadline_s = 30.0  # hook scripts are run
    domain: str  # the guest's name
    uuid: str  # the guest's, as text
    driver: str  # `Driver.name`
    interface: str  # one completed <interface> element, with its MAC address
    queues: int = 1  # of the interface: as many descriptors
    tap: str = ""  # a fixed name for the device; "": the next free vnetN
    user: int = -1  # who may open the tap again (QEMU's user); -1: root alone
    vhost: bool = True  # use vhost-net where the kernel has it (virtio interfaces only)
    container: bool = False  # create a veth or macvlan, one end of which the worker moves; no tap


class AdoptPort(Request[Ack], frozen=True, kw_only=True, tag="netd.adopt_port"):
    """Record an interface that libvirt's own daemon attached; from now on it is a port as others.

    It stays as it is. A port that is known already is no error.
    Errors: OPERATION_INVALID for an interface without a device; SYSTEM_ERROR.
    """

    deadline_s = 15.0
    domain: str  # the guest's name
    uuid: str  # the guest's, as text
    interface: str  # the live <interface>


class DetachPort(Request[Ack], frozen=True, kw_only=True, tag="netd.detach_port"):
    """Remove a guest's port, or all of them. Unknown ports are no error."""

    deadline_s = 5.0  # a netd that is away finds out by itself later
    uuid: str  # the guest's, as text
    tap: str = ""  # the device; "": every port of the guest


class UpdatePort(Request[PortAttached], frozen=True, kw_only=True, tag="netd.update_port"):
    """Connect a port to another network or bridge, or change its filter or bandwidth.

    The reply has no descriptors: the tap stays. A failed call changes nothing.
    Errors: those of `AttachPort`; OPERATION_UNSUPPORTED for what needs a new tap.
    """

    deadline_s = 15.0
    uuid: str
    tap: str
    interface: str  # the new <interface>


class SetLink(Request[Ack], frozen=True, kw_only=True, tag="netd.set_link"):
    """Set the host's side of an interface up or down.

    Errors: OPERATION_INVALID when the guest has no such port; SYSTEM_ERROR.
    """

    deadline_s = 15.0
    uuid: str
    tap: str
    up: bool


class SetBandwidth(Request[Ack], frozen=True, kw_only=True, tag="netd.set_bandwidth"):
    """Limit an interface's traffic. Errors: as `SetLink`."""

    deadline_s = 15.0
    uuid: str
    tap: str
    bandwidth: str  # a <bandwidth> element; "": remove the limits


class InterfaceAddress(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """An address of an interface."""

    mac: str
    address: str
    family: int  # 4 or 6
    prefix: int  # 0: unknown
    hostname: str = ""  # of a lease


class InterfaceAddresses(msgspec.Struct, frozen=True, kw_only=True):
    """Addresses with their interfaces' MAC addresses."""

    addresses: list[InterfaceAddress]


class LeasedAddresses(Request[InterfaceAddresses], frozen=True, kw_only=True, tag="netd.dhcp"):
    """Get the DHCP leases of interfaces."""

    deadline_s = 5.0
    macs: list[str]


class ArpAddresses(Request[InterfaceAddresses], frozen=True, kw_only=True, tag="netd.arp"):
    """Get the addresses of interfaces in the kernel's neighbour table (ARP)."""

    deadline_s = 5.0
    macs: list[str]
