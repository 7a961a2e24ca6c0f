"""The model of a domain's XML."""

from conf.domain.domain_xml import (
    LiveDomainWriter,
    format_domain,
    parse_domain,
    read_domain,
    reformat_domain,
)
from conf.domain.model import Domain

__all__ = [
    "Domain",
    "LiveDomainWriter",
    "format_domain",
    "parse_domain",
    "read_domain",
    "reformat_domain",
]
