"""The users whom libsasl2 knows: of one database, for a process reads its configuration once."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.authd.sasl_client import write_users

MECHANISMS = "scram-sha-256 scram-sha-1 digest-md5 plain external"


@pytest.fixture(scope="session")
def users(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A daemon's root with the users alice and bob, whose password is "secret"."""
    folder = tmp_path_factory.mktemp("sasl")
    write_users(folder, MECHANISMS, alice="secret", bob="secret")
    return folder
