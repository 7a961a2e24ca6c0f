"""Readahead: the next domains go along with a reply, for clients that ask for one after another."""

from __future__ import annotations

from uuid import uuid4

from supervisor.domd.domain import Definition, DomainObject
from supervisor.domd.readahead import AHEAD, SKIPPED, Readahead
from supervisor.domd.registry import DomainRegistry, domain_type
from supervisor.drivers.qemu import QEMU


def registry_of(count: int) -> tuple[DomainRegistry, list[DomainObject]]:
    registry = DomainRegistry(QEMU)
    domains = []
    for number in range(count):
        domain = DomainObject(domain_type(QEMU), name=f"d{number}", uuid=uuid4().bytes)
        domain.definition = Definition("<domain/>")
        registry.add(domain)
        domains.append(domain)
    return registry, domains


def test_one_after_the_other_is_answered_once_in_so_many() -> None:
    registry, domains = registry_of(1000)
    readahead = Readahead(registry, lambda domain: domain.uuid)
    known: set[bytes] = set()
    asked = 0
    for domain in domains:
        if domain.uuid not in known:
            asked += 1
            known.update(each.uuid for each in readahead.after(domain))
    assert asked <= 2 + len(domains) // (AHEAD + 1)


def test_the_first_query_and_leaps_read_nothing_ahead() -> None:
    registry, domains = registry_of(200)
    readahead = Readahead(registry, lambda domain: domain.uuid)
    assert readahead.after(domains[0]) == []
    assert readahead.after(domains[1]) == domains[2 : 2 + AHEAD]
    assert readahead.after(domains[150]) == []
    assert readahead.after(domains[20]) == []
    assert readahead.after(domains[21]) == domains[22 : 22 + AHEAD]


def test_domains_that_a_client_leaves_out_do_not_end_it() -> None:
    registry, domains = registry_of(100)
    readahead = Readahead(registry, lambda domain: domain.uuid)
    readahead.after(domains[0])
    readahead.after(domains[0])
    assert readahead.after(domains[AHEAD + SKIPPED]) == domains[AHEAD + SKIPPED + 1 :][:AHEAD]


def test_a_domain_that_was_removed_is_not_read_ahead() -> None:
    registry, domains = registry_of(10)
    readahead = Readahead(registry, lambda domain: domain.uuid)
    readahead.after(domains[0])
    assert domains[5] in readahead.after(domains[1])
    registry.remove(domains[5])
    assert readahead.after(domains[2]) == []
    assert domains[5] not in readahead.after(domains[3])
