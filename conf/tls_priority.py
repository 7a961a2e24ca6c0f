"""tls_priority of libvirtd.conf: GnuTLS's priority strings, as far as OpenSSL follows them.

Owns: that translation. Pure. May not touch: TLS itself.
Source: GnuTLS 3.7's manual, "Priority strings".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from conf.errors import ConfError

VERSIONS: Final = ("1.2", "1.3")
#: Older ones are off in both libraries' defaults.
OLD_VERSIONS: Final = ("VERS-SSL3.0", "VERS-TLS1.0", "VERS-TLS1.1", "VERS-DTLS-ALL")
#: A keyword that begins a string, and OpenSSL's ciphers for TLS 1.2.
KEYWORDS: Final = {
    "NORMAL": "HIGH:!aNULL:!eNULL:!MD5:!3DES:!PSK:!SRP",
    "PFS": "ECDHE+HIGH:DHE+HIGH:!aNULL:!eNULL:!3DES",
    "SECURE128": "HIGH:!aNULL:!eNULL:!MD5:!3DES:!PSK:!SRP",
    "SECURE192": "AES256:CHACHA20:!aNULL:!eNULL:!PSK:!SRP",
    "SECURE256": "AES256:CHACHA20:!aNULL:!eNULL:!PSK:!SRP",
    "@LIBVIRT": "HIGH:!aNULL:!eNULL:!MD5:!3DES:!PSK:!SRP",
    "@SYSTEM": "HIGH:!aNULL:!eNULL:!MD5:!3DES:!PSK:!SRP",
}
#: Options that OpenSSL's defaults have already, or that mean nothing to it.
IGNORED: Final = frozenset({"%SERVER_PRECEDENCE", "%SAFE_RENEGOTIATION", "%COMPAT", "%NO_TICKETS"})


@dataclass(frozen=True, slots=True)
class TlsPriority:
    """Versions and ciphers of TLS."""

    minimum: str  # "1.2" or "1.3"
    maximum: str
    ciphers: str  # OpenSSL's list, for TLS 1.2


def parse_priority(text: str) -> TlsPriority:
    """Read tls_priority; the empty one is NORMAL.

    Raises:
        ConfError: kind "conf_syntax": an item that OpenSSL cannot follow, or no version is left.
    """
    first, *items = (text or "NORMAL").split(":")
    # "@LIBVIRT,SYSTEM" names the first policy that the host has.
    keyword = first.partition(",")[0]
    if keyword not in KEYWORDS:
        raise _unknown(first)
    versions = dict.fromkeys(VERSIONS, True)
    for item in items:
        sign, name = item[:1], item[1:]
        if item in IGNORED or (sign in "-!" and name in OLD_VERSIONS):
            continue
        if name in ("VERS-ALL", "VERS-TLS-ALL") and sign in "-!+":
            versions = dict.fromkeys(VERSIONS, sign == "+")
        elif name.startswith("VERS-TLS") and name[8:] in versions and sign in "-!+":
            versions[name[8:]] = sign == "+"
        else:
            raise _unknown(item)
    enabled = [version for version in VERSIONS if versions[version]]
    if not enabled:
        raise ConfError("conf_syntax", "tls_priority leaves no version of TLS (1.2, 1.3)")
    return TlsPriority(enabled[0], enabled[-1], KEYWORDS[keyword])


def _unknown(item: str) -> ConfError:
    detail = (
        f"tls_priority: '{item}' cannot be followed; use one of {', '.join(sorted(KEYWORDS))} and "
        "after it +VERS-TLS1.2, -VERS-TLS1.3 and the like, separated by colons"
    )
    return ConfError("conf_syntax", detail)
