"""The daemon's certificates: where they are looked for, and which refuse the start."""

from __future__ import annotations

from pathlib import Path

import pytest

from conf.settings import DaemonConfig
from supervisor.root.tls_files import TlsError, load_tls_files, tls_paths
from supervisor.runtime.paths import Paths
from tests.certificates import CLIENT, Issued, authority, issue, revocation_list, write_server

CA = authority()
GOOD = issue("localhost", CA)


def load(root: Path, config: DaemonConfig | None = None) -> None:
    load_tls_files(config or DaemonConfig(), Paths.system(root), session=False)


def test_the_system_daemons_certificates_are_read(tmp_path: Path) -> None:
    write_server(tmp_path / "etc/pki", CA, GOOD)
    crl = revocation_list(CA)
    (tmp_path / "etc/pki/CA/cacrl.pem").write_bytes(crl)
    files = load_tls_files(DaemonConfig(), Paths.system(tmp_path), session=False)
    assert (files.ca, files.certificate, files.key) == (CA.pem, GOOD.pem, GOOD.key_pem)
    assert files.crl == crl


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(TlsError, match=r"Cannot read CA certificate '.*/CA/cacert.pem': No"):
        load(tmp_path)


def test_a_crl_that_is_asked_for_must_be_there(tmp_path: Path) -> None:
    write_server(tmp_path / "etc/pki", CA, GOOD)
    with pytest.raises(TlsError, match=r"Cannot read CA CRL '/nowhere/crl.pem'"):
        load(tmp_path, DaemonConfig(crl_file="/nowhere/crl.pem"))


def test_some_of_the_three_paths_alone_are_refused(tmp_path: Path) -> None:
    with pytest.raises(TlsError, match="No CA certificate path set"):
        load(tmp_path, DaemonConfig(cert_file="/c", key_file="/k"))


def test_a_users_own_certificates_come_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    folder = tmp_path / ".pki/libvirt"
    folder.mkdir(parents=True)
    paths = Paths.system(tmp_path)
    assert tls_paths(DaemonConfig(), paths, session=True).ca == tmp_path / "etc/pki/CA/cacert.pem"
    for name in ("cacert.pem", "servercert.pem", "serverkey.pem"):
        (folder / name).touch()
    assert tls_paths(DaemonConfig(), paths, session=True).key == folder / "serverkey.pem"


@pytest.mark.parametrize(
    ("ca", "server", "reason"),
    [
        (CA, issue("old", CA, days=(-9, -2)), "The server certificate .* has expired"),
        (CA, issue("new", CA, days=(2, 9)), "The server certificate .* is not yet active"),
        (CA, issue("c", CA, purpose=CLIENT), "purpose does not allow use for with a TLS server"),
        (CA, authority(), "basic constraints show a CA, but we need one for a server"),
        (GOOD, GOOD, "basic constraints do not show a CA"),
        (authority("Other"), GOOD, "hasn't got a known issuer"),
        (issue("CA", is_ca=True, days=(-9, -2)), GOOD, "The CA certificate .* has expired"),
    ],
)
def test_insane_certificates_refuse_the_start(
    tmp_path: Path, ca: Issued, server: Issued, reason: str
) -> None:
    write_server(tmp_path / "etc/pki", ca, server)
    with pytest.raises(TlsError, match=reason):
        load(tmp_path)
    load(tmp_path, DaemonConfig(tls_no_sanity_certificate=True))


def test_a_file_that_is_no_certificate_is_refused(tmp_path: Path) -> None:
    write_server(tmp_path / "etc/pki", CA, GOOD)
    (tmp_path / "etc/pki/libvirt/servercert.pem").write_text("rubbish")
    with pytest.raises(TlsError, match=r"Unable to import certificate .*/servercert.pem"):
        load(tmp_path)
