"""The order of controllers, in which libvirt writes them.

Owns: that order, and the numbers of controllers that have none. Pure; changes the list it is given.
Source: libvirt 9.0's behaviour, measured in corpus/domain.jsonl.
"""

from __future__ import annotations

from typing import Final

from conf.domain.devices.controller import Controller

#: Parts of one USB 2 controller share a number.
USB2_PARTS: Final = ("ich9-ehci1", "ich9-uhci1", "ich9-uhci2", "ich9-uhci3")


def order_controllers(controllers: list[Controller]) -> None:
    """Sort the controllers, then number those without an index.

    Those that are added later for devices that need them just follow.
    """
    by_type: dict[str, list[Controller]] = {}
    highest: dict[str, int] = {}
    for controller in controllers:
        same_type = by_type.setdefault(controller.type, [])
        if controller.index is None or controller.index > highest.get(controller.type, -1):
            same_type.append(controller)  # as most are: no search among thousands
        else:
            insert_controller(same_type, controller)
        highest[controller.type] = max(highest.get(controller.type, -1), _number(controller))
    controllers.clear()
    for same_type in by_type.values():
        _number_controllers(same_type)
        controllers.extend(same_type)


def _number_controllers(controllers: list[Controller]) -> None:
    """Give the controllers of one type that have no index the first free ones."""
    taken = {controller.index for controller in controllers}
    free = 0
    for place, controller in enumerate(controllers):
        if controller.index is not None:
            continue
        before = controllers[place - 1] if place else None
        if before is not None and _same_usb2(before, controller):
            controller.index = before.index
            continue
        while free in taken:
            free += 1
        controller.index = free
        taken.add(free)


def insert_controller(controllers: list[Controller], new: Controller) -> None:
    """Put a controller before the first of its type with a higher number, else behind the last.

    One without an index follows the last of its type.
    A controller without <master> precedes the companions of its index; the first one of a type is
    appended.
    """
    number = _number(new)
    behind = len(controllers)
    for place, other in enumerate(controllers):
        if other.type != new.type:
            continue
        if new.index is None:
            behind = place + 1
            continue
        companion = other.master_port is not None and new.master_port is None
        if _number(other) > number or (companion and _number(other) == number):
            behind = place
            break
        behind = place + 1
    controllers.insert(behind, new)


def _same_usb2(before: Controller, controller: Controller) -> bool:
    return before.model in USB2_PARTS and controller.model in USB2_PARTS[1:]


def _number(controller: Controller) -> int:
    return -1 if controller.index is None else controller.index
