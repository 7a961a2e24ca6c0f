"""Iothreads of a running guest: adding, removing, and how they poll.

Owns: QEMU's iothread objects after the start. May touch: QEMU, by QMP; their threads.
Source: libvirt 9.0, qemuDomainHotplugAddIOThread, qemuDomainHotplugModIOThread.
"""

from __future__ import annotations

from conf.domain.iothreads import (
    add_iothread,
    check_new_iothread,
    check_unused_iothread,
    find_iothread,
    remove_iothread,
    set_thread_pool,
)
from supervisor.messages.worker_resources import SetIothread
from supervisor.workers.qemu.affinity import tune_iothread
from supervisor.workers.qemu.cgroup.guest_cgroup import iothread_name
from supervisor.workers.qemu.guest import Guest
from supervisor.workers.qemu.threads import iothread_threads


async def add(guest: Guest, number: int) -> None:
    """Start an iothread.

    Raises:
        ConfError: "invalid_arg": there is one of the id.
        VirError: QEMU refuses; SYSTEM_ERROR: it runs, but the kernel refuses its scheduling.
    """
    check_new_iothread(guest.domain, number)
    arguments = {"qom-type": "iothread", "id": f"iothread{number}"}
    await guest.monitor.execute("object-add", arguments)
    add_iothread(guest.domain, number)
    guest.update_xml()
    thread = (await iothread_threads(guest)).get(number)
    if thread is not None:
        await tune_iothread(guest, number, thread)


async def remove(guest: Guest, number: int) -> None:
    """End an iothread.

    Raises:
        ConfError: "invalid_arg": there is none of the id, or a device uses it.
        VirError: QEMU refuses.
    """
    check_unused_iothread(guest.domain, number)
    await guest.monitor.execute("object-del", {"id": f"iothread{number}"})
    remove_iothread(guest.domain, number)
    guest.cgroup.remove_thread(iothread_name(number))
    guest.update_xml()


async def configure(guest: Guest, request: SetIothread) -> None:
    """Set how an iothread polls, and the size of its thread pool.

    Raises:
        ConfError: "invalid_arg": there is none of the id; "operation_invalid": the sizes.
        VirError: QEMU refuses.
    """
    thread = find_iothread(guest.domain, request.id)
    before, previous_maximum = guest.domain.iothread_ids, thread.thread_pool_max
    minimum, maximum = request.thread_pool_min, request.thread_pool_max
    set_thread_pool(guest.domain, request.id, minimum, maximum, live=True)
    pool = [("thread-pool-min", minimum), ("thread-pool-max", maximum)]
    # QEMU refuses a minimum above the present maximum, even for a moment.
    if minimum is not None and previous_maximum is not None and minimum > previous_maximum:
        pool.reverse()
    polling = [
        ("poll-max-ns", request.poll_max_ns),
        ("poll-grow", request.poll_grow),
        ("poll-shrink", request.poll_shrink),
    ]
    try:
        for name, value in (*polling, *pool):
            if value is not None:
                path = f"/objects/iothread{request.id}"
                arguments = {"path": path, "property": name, "value": value}
                await guest.monitor.execute("qom-set", arguments)
    except BaseException:
        guest.domain.iothread_ids = before
        raise
    guest.update_xml()


async def follow_iothreads(guest: Guest) -> None:
    """Make the live XML say which iothreads QEMU has.

    A worker can die between QEMU's change and the XML's.

    Raises:
        VirError: QEMU does not reply.
    """
    present = set(await iothread_threads(guest))
    known = {thread.id for thread in guest.domain.iothread_list()}
    if present == known:
        return
    for number in sorted(present - known):
        add_iothread(guest.domain, number)
    for number in sorted(known - present):
        remove_iothread(guest.domain, number)
    guest.update_and_publish()
