"""Groups of descriptors: they are a connection's, and bounded."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from ipc import Descriptor
from rpc.errors import ErrorCode, VirError
from supervisor.domd import fd_groups
from supervisor.domd.domain import DomainObject
from supervisor.domd.fd_groups import FdGroups, copies
from supervisor.domd.registry import domain_type
from supervisor.drivers.qemu import QEMU

XML = "<source file='/a' fdgroup='top'/>"


def descriptor() -> Descriptor:
    return Descriptor(os.open("/dev/null", os.O_RDWR))


def domain() -> DomainObject:
    return DomainObject(domain_type(QEMU), name="web", uuid=b"\1" * 16)


def is_open(group: list[Descriptor]) -> bool:
    return all(_fileno(each) >= 0 for each in group)


def _fileno(each: Descriptor) -> int:
    try:
        return each.fileno()
    except ValueError:
        return -1


def test_a_group_is_copied_for_a_worker_whose_document_names_one() -> None:
    web, passed = domain(), [descriptor()]
    FdGroups([web]).associate(web, "top", "client-1", passed)
    assert copies(web, "<source file='/a'/>") == {}
    (copy,) = copies(web, XML)["top"]
    assert os.path.sameopenfile(copy.fileno(), passed[0].fileno())
    assert copy.fileno() != passed[0].fileno()


@pytest.mark.parametrize("closed", ["client-1", ""])
def test_a_group_ends_with_its_clients_connection(closed: str) -> None:
    web, first, second = domain(), [descriptor()], [descriptor()]
    groups = FdGroups([web])
    groups.associate(web, "top", "client-1", first)
    groups.associate(web, "other", "client-2", second)
    groups.client_closed(closed)
    assert not is_open(first)
    assert is_open(second) is bool(closed)
    assert set(web.fd_groups) == ({"other"} if closed else set())


def test_a_group_takes_the_place_of_one_of_its_name() -> None:
    web, first, second = domain(), [descriptor()], [descriptor()]
    for passed in (first, second):
        FdGroups([web]).associate(web, "top", "client-1", passed)
    assert not is_open(first)
    assert web.fd_groups["top"].descriptors == second


def test_no_descriptor_and_too_many_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fd_groups, "MOST", 2)
    web = domain()
    groups = FdGroups([web])

    def refused(descriptors: list[Descriptor], name: str) -> ErrorCode:
        with pytest.raises(VirError) as error:
            groups.associate(web, name, "client-1", descriptors)
        return ErrorCode(error.value.code)

    make: Callable[[], Descriptor] = descriptor
    assert refused([], "top") is ErrorCode.INVALID_ARG
    groups.associate(web, "top", "client-1", [make(), make()])
    assert refused([make()], "more") is ErrorCode.OPERATION_FAILED
    groups.associate(web, "top", "client-1", [make(), make()])  # in place of its own
    groups.associate(web, "more", "client-2", [make(), make()])  # another client's
