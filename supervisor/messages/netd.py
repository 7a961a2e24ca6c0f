"""What other services ask of netd: guests' ports, and what is known of guests' addresses.

Owns: the messages' shapes. Senders: workers, domd. Receiver: netd. Clients' own calls on networks
go as `supervisor.messages.calls.ClientRequest`.
"""

from __future__ import annotations

import msgspec

from ipc import Ack, Descriptor, Request


class PortAttached(msgspec.Struct, frozen=True, kw_only=True):
    """A guest's card, plugged in; the receiver closes the descriptors."""

    interface: str  # the <interface> as the live document says it: target dev, actual type, source
    tap: str  # the name of the host's device
    taps: list[Descriptor]  # one a queue, for QEMU's fd= or fds=
    vhosts: list[Descriptor]  # one a queue, or none: QEMU then moves the packets itself
    host_mtu: int  # for a virtio card's host_mtu; 0: nothing is said of it
    peer: str = ""  # of a container's card: the device that is moved into the container


class AttachPort(Request[PortAttached], frozen=True, kw_only=True, tag="netd.attach_port"):
    """Worker: make the device of an <interface> of type network, bridge, ethernet or direct.

    The port is the guest's until `DetachPort`: it outlives the worker and netd. What a failed call
    had made is gone again.
    Errors: NO_NETWORK; OPERATION_INVALID for a network that is off; CONFIG_UNSUPPORTED for what
    cannot be made here, in session mode every type; SYSTEM_ERROR for what the kernel refuses;
    HOOK_SCRIPT_FAILED.
    """

    deadline_s = 30.0  # hook scripts are run
    domain: str  # the guest's name
    uuid: str  # the guest's, as text
    driver: str  # `Driver.name`
    interface: str  # one completed <interface> element, with its MAC address
    queues: int = 1  # of the card: as many descriptors
    tap: str = ""  # the device's name if it is to have a certain one; "": the next free vnetN
    user: int = -1  # who may open the tap again (QEMU's user); -1: root alone
    vhost: bool = True  # let the kernel move the packets where it can (only for virtio cards)
    container: bool = False  # make a veth or macvlan, whose one end the worker moves on; no tap


class DetachPort(Request[Ack], frozen=True, kw_only=True, tag="netd.detach_port"):
    """Worker: a card is unplugged, or its guest has gone. Unknown ports are no error."""

    deadline_s = 5.0  # a netd that is away finds out by itself later
    uuid: str  # the guest's, as text
    tap: str = ""  # the device; "": every port of the guest


class UpdatePort(Request[PortAttached], frozen=True, kw_only=True, tag="netd.update_port"):
    """Worker: plug a card of a running guest in elsewhere, or change its filter or bandwidth.

    The answer has no descriptors: the tap stays. On failure everything is as before.
    Errors: those of `AttachPort`; OPERATION_UNSUPPORTED for what needs a new tap.
    """

    deadline_s = 15.0
    uuid: str
    tap: str
    interface: str  # as it is to be from now on


class SetLink(Request[Ack], frozen=True, kw_only=True, tag="netd.set_link"):
    """Worker: bring the host's side of a card up, or take it down.

    Errors: OPERATION_INVALID when the guest has no such port; SYSTEM_ERROR.
    """

    deadline_s = 15.0
    uuid: str
    tap: str
    up: bool


class SetBandwidth(Request[Ack], frozen=True, kw_only=True, tag="netd.set_bandwidth"):
    """Worker: limit a card's traffic. Errors: as `SetLink`."""

    deadline_s = 15.0
    uuid: str
    tap: str
    bandwidth: str  # a <bandwidth> element; "": no limit any more


class InterfaceAddress(msgspec.Struct, frozen=True, kw_only=True, array_like=True):
    """An address that a card was seen with."""

    mac: str
    address: str
    family: int  # 4 or 6
    prefix: int  # 0: not known


class InterfaceAddresses(msgspec.Struct, frozen=True, kw_only=True):
    """Addresses, each with the card it belongs to."""

    addresses: list[InterfaceAddress]


class LeasedAddresses(Request[InterfaceAddresses], frozen=True, kw_only=True, tag="netd.leases"):
    """Worker, domd: which addresses has DHCP given these cards?"""

    deadline_s = 5.0
    macs: list[str]


class ArpAddresses(Request[InterfaceAddresses], frozen=True, kw_only=True, tag="netd.arp"):
    """Worker, domd: with which addresses does the host's kernel know these cards?"""

    deadline_s = 5.0
    macs: list[str]
