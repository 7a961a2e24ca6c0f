"""Errors of network validation. Pure.

Owns: those refusals, in libvirt's codes. May not touch: the host.
Source: libvirt 9.0, measured.
"""

from __future__ import annotations

from conf.errors import ConfError


def unsupported(detail: str) -> ConfError:
    """CONFIG_UNSUPPORTED."""
    return ConfError("config_unsupported", detail)


def xml_error(detail: str) -> ConfError:
    """XML_ERROR."""
    return ConfError("xml", detail)


def dns_error(detail: str) -> ConfError:
    """XML_DETAIL: libvirt's code for errors in DNS records."""
    return ConfError("xml_detail", detail)
