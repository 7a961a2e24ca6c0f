"""<filter> and <filterbinding>: models, parser and formatter. Pure.

Owns: the models, their checks, the filters that a new host begins with.
May not touch: files outside the package, the host.
Source: libvirt 9.0 formatnwfilter; corpus/nwfilter.jsonl.
"""

from conf.nwfilter.binding import (
    FilterBinding,
    format_binding,
    format_status,
    parse_binding,
    parse_status,
)
from conf.nwfilter.format import format_filter
from conf.nwfilter.model import Filter, Reference, Rule
from conf.nwfilter.parse import parse_filter
from conf.nwfilter.stock import stock_filters

__all__ = [
    "Filter",
    "FilterBinding",
    "Reference",
    "Rule",
    "format_binding",
    "format_filter",
    "format_status",
    "parse_binding",
    "parse_filter",
    "parse_status",
    "stock_filters",
]
