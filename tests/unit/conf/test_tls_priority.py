"""tls_priority: what of GnuTLS's priority strings OpenSSL can follow."""

from __future__ import annotations

import pytest

from conf.errors import ConfError
from conf.tls_priority import parse_priority


@pytest.mark.parametrize(
    ("text", "versions"),
    [
        ("", ("1.2", "1.3")),
        ("NORMAL", ("1.2", "1.3")),
        ("@LIBVIRT,SYSTEM", ("1.2", "1.3")),
        ("NORMAL:-VERS-ALL:+VERS-TLS1.3", ("1.3", "1.3")),
        ("NORMAL:-VERS-TLS1.3", ("1.2", "1.2")),
        ("SECURE256:-VERS-TLS1.0:-VERS-TLS1.1:%SERVER_PRECEDENCE", ("1.2", "1.3")),
        ("NORMAL:!VERS-TLS-ALL:+VERS-TLS1.2", ("1.2", "1.2")),
    ],
)
def test_versions_of_a_priority_string(text: str, versions: tuple[str, str]) -> None:
    priority = parse_priority(text)
    assert (priority.minimum, priority.maximum) == versions


@pytest.mark.parametrize(
    "text",
    ["NONE", "NORMAL:-CIPHER-ALL", "NORMAL:+VERS-TLS1.0", "NORMAL:-VERS-ALL", "NORMAL:", "x:y"],
)
def test_what_cannot_be_followed_is_refused(text: str) -> None:
    with pytest.raises(ConfError, match="tls_priority"):
        parse_priority(text)
