"""Adding, removing and changing a domain's iothreads. Pure.

Owns: <iothreads>, <iothreadids> and what goes with a thread that is no more.
May touch: the domain it is given, in place; the caller owns it alone.
Source: libvirt 9.0, virDomainAddIOThread, virDomainDelIOThread, virDomainSetIOThreadParams;
measured.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from conf.domain.model import Domain
from conf.domain.tuning import IoThread
from conf.errors import ConfError

UNSET: Final = -1  # a pool's size that QEMU chooses


def find_iothread(domain: Domain, number: int) -> IoThread:
    """Find an iothread.

    Raises:
        ConfError: "invalid_arg".
    """
    for thread in domain.iothread_list():
        if thread.id == number:
            return thread
    raise ConfError("invalid_arg", f"cannot find IOThread '{number}' in iothreadids list")


def check_new_iothread(domain: Domain, number: int) -> None:
    """Refuse an id that is in use.

    Raises:
        ConfError: "invalid_arg".
    """
    if any(thread.id == number for thread in domain.iothread_list()):
        raise ConfError("invalid_arg", f"an IOThread is already using iothread_id '{number}'")


def check_unused_iothread(domain: Domain, number: int) -> None:
    """Refuse to remove an iothread that is not there, or that a device uses.

    Raises:
        ConfError: "invalid_arg".
    """
    find_iothread(domain, number)
    for disk in domain.devices.disks:
        if disk.driver is not None and disk.driver.iothread == number:
            detail = (
                f"cannot remove IOThread {number} since it is being used by disk "
                f"'{disk.target.dev}'"
            )
            raise ConfError("invalid_arg", detail)
    for controller in domain.devices.controllers:
        if controller.driver is not None and controller.driver.iothread == number:
            detail = f"cannot remove IOThread '{number}' since it is being used by controller"
            raise ConfError("invalid_arg", detail)


def add_iothread(domain: Domain, number: int) -> None:
    """Add an iothread; all of them are listed by id from now on.

    Raises:
        ConfError: as `check_new_iothread`.
    """
    check_new_iothread(domain, number)
    domain.iothread_ids = [*domain.iothread_list(), IoThread(id=number)]
    domain.iothreads = len(domain.iothread_ids)


def remove_iothread(domain: Domain, number: int) -> None:
    """Remove an iothread with its tuning.

    Raises:
        ConfError: as `check_unused_iothread`.
    """
    check_unused_iothread(domain, number)
    listed = bool(domain.iothread_ids)
    remaining = [thread for thread in domain.iothread_list() if thread.id != number]
    # Without a list the ids are 1 to N, which they may not be any more.
    listed |= [thread.id for thread in remaining] != list(range(1, len(remaining) + 1))
    domain.iothread_ids = remaining if listed else []
    domain.iothreads = len(remaining) or None
    tune = domain.cputune
    if tune is not None:
        tune.iothreadpins = [pin for pin in tune.iothreadpins if pin.iothread != number]
        tune.iothreadscheds = [s for s in tune.iothreadscheds if s.iothreads != str(number)]


def set_thread_pool(
    domain: Domain, number: int, minimum: int | None, maximum: int | None, *, live: bool
) -> None:
    """Set the size of an iothread's pool; None stays as it is, -1 leaves it to QEMU.

    Raises:
        ConfError: as `find_iothread`; "operation_invalid": sizes that contradict each other, or
            -1 for a running guest.
    """
    thread = find_iothread(domain, number)
    if live:
        for name, value in (("thread_pool_min", minimum), ("thread_pool_max", maximum)):
            if value is not None and value < 0:
                detail = f"{name} ({value}) must be equal to or greater than 0 for live change"
                raise ConfError("operation_invalid", detail)
    low = thread.thread_pool_min if minimum is None else minimum
    high = thread.thread_pool_max if maximum is None else maximum
    if low is not None and high is not None and high != UNSET and low > high:
        detail = f"thread_pool_min ({low}) can't be greater than thread_pool_max ({high})"
        raise ConfError("operation_invalid", detail)
    if minimum is None and maximum is None:
        return
    changed = replace(
        thread,
        thread_pool_min=None if low == UNSET else low,
        thread_pool_max=None if high == UNSET else high,
    )
    domain.iothread_ids = [
        changed if each.id == number else each for each in domain.iothread_list()
    ]
