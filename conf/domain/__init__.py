"""The model of a domain's XML."""

from conf.domain.model import Domain, format_domain, parse_domain

__all__ = ["Domain", "format_domain", "parse_domain"]
