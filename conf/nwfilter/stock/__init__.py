"""The filters that a new host begins with, under the names that libvirt's have.

Owns: the XML files in this folder. Read-only.
Source: libvirt 9.0 formatnwfilter, "Pre-existing network filters".
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from importlib.resources import files
from uuid import uuid4

from conf.nwfilter.format import format_filter
from conf.nwfilter.parse import parse_filter


def stock_filters(make_uuid: Callable[[], str] = lambda: str(uuid4())) -> dict[str, str]:
    """Return libvirt's filters by name, as XML for the disk, with UUIDs of this host.

    Raises:
        ConfError: the package is damaged.
    """
    filters = {}
    for resource in files(__name__).iterdir():
        if resource.name.endswith(".xml"):
            filter = replace(parse_filter(resource.read_bytes()), uuid=make_uuid())
            filters[filter.name] = format_filter(filter)
    return dict(sorted(filters.items()))
