"""A domain's title, description and metadata alone, without what the guest is made of.

Owns: which elements those are. Pure.

A running guest's XML names every image of its disks' chains: of a chain of a hundred images, to
read it all takes seven times as long.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from conf.domain.metadata import drop_repeated_namespaces
from conf.domain.model import Domain
from conf.domain.resources import copy_fields
from conf.mapper import element, parse_root, read, text, verbatim

#: The fields of `Domain` that `read_descriptions` reads.
DESCRIPTIONS: Final = ("title", "description", "metadata")


@element("domain")
@dataclass(slots=True, kw_only=True)
class DomainDescriptions:
    """<domain> with those elements alone."""

    title: str | None = text("title", omit="")
    description: str | None = text("description", omit="")
    metadata: str | None = verbatim("metadata", prune=drop_repeated_namespaces)


def read_descriptions(xml: str) -> Domain:
    """Read a domain's title, description and metadata; all else of the model is empty.

    Raises:
        ConfError: it is no domain's XML.
    """
    domain = Domain()
    copy_fields(read(DomainDescriptions, parse_root(DomainDescriptions, xml)), domain, DESCRIPTIONS)
    return domain
