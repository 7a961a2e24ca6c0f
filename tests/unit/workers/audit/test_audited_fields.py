"""A change of other fields cannot change what is recorded."""

from __future__ import annotations

import dataclasses
from typing import cast

from conf.domain import Domain, parse_domain
from supervisor.workers.audit.resources import AUDITED, resources_of

XML = """<domain type='qemu'><name>x</name><memory>65536</memory><vcpu current='2'>4</vcpu>
<iothreads>2</iothreads><iothreadids><iothread id='1'/></iothreadids><os><type>hvm</type></os>
<devices><console type='pty'/></devices></domain>"""


class Watched:
    """A domain that tells which of its fields are read."""

    def __init__(self, domain: Domain, read: set[str]) -> None:
        self._domain, self._read = domain, read

    def __getattr__(self, name: str) -> object:
        member = getattr(Domain, name, None)
        if isinstance(member, property):
            assert member.fget is not None
            return member.fget(self)
        if callable(member):
            return lambda: member(self)
        self._read.add(name)
        return getattr(self._domain, name)


def test_resources_are_read_from_these_fields_alone() -> None:
    domain, read = parse_domain(XML), set[str]()
    assert resources_of(cast("Domain", Watched(domain, read))) == resources_of(domain)
    assert {place.name for place in dataclasses.fields(Domain)} & read == AUDITED
