"""swtpm: its command lines, and that a secret is on none of them."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import pytest

from conf.errors import ConfError
from rpc.errors import VirError
from supervisor.runtime.emulator_user import User
from supervisor.workers.qemu.external import swtpm

SECRET = b"open sesame"
OWN = User(os.geteuid(), os.getegid(), "")


@pytest.fixture(autouse=True)
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("swtpm", "swtpm_setup"):
        (folder / name).write_text("#!/bin/sh\necho no keys >&2\nexit 3\n")
        (folder / name).chmod(0o755)
    monkeypatch.setattr(swtpm, "PATH", str(folder))
    return folder


def emulator(tmp_path: Path, version: str = "2.0", secret: bytes | None = None) -> swtpm.Emulator:
    state_dir = tmp_path / "swtpm" / "UUID" / swtpm.FOLDERS[version]
    return swtpm.Emulator(
        alias="tpm0", version=version, state_dir=state_dir, log_path=tmp_path / "log" / "tpm.log",
        vmid="d:UUID", user=OWN, secret=secret,
    )  # fmt: skip


@pytest.mark.parametrize(("version", "folder"), [("2.0", "tpm2"), ("1.2", "tpm1.2")])
def test_the_version_chooses_the_folder_and_the_option(
    version: str, folder: str, tmp_path: Path
) -> None:
    subject = emulator(tmp_path, version)
    with contextlib.ExitStack() as closing:
        argv = swtpm.plan_command(subject, 9, closing).argv
    assert f"dir={tmp_path}/swtpm/UUID/{folder},mode=0600" in argv
    assert ("--tpm2" in argv) == ("--tpm2" in swtpm.setup_arguments(subject, None))
    assert ("--tpm2" in argv) == (version == "2.0")


def test_a_secret_passes_by_descriptors_alone(tmp_path: Path) -> None:
    subject = emulator(tmp_path, secret=SECRET)
    with contextlib.ExitStack() as closing:
        command = swtpm.plan_command(subject, 9, closing)
        key, migration_key = command.fds[1:]
        assert f"pwdfd={key},mode=aes-256-cbc" in command.argv
        assert f"pwdfd={migration_key},mode=aes-256-cbc" in command.argv
        assert os.read(key, 99) == os.read(migration_key, 99) == SECRET
    arguments = [*command.argv, *swtpm.setup_arguments(subject, key)]
    assert not any(SECRET.decode() in argument for argument in arguments)
    assert "--pwdfile-fd" in arguments


def test_a_link_in_place_of_the_state_directory_gives_away_nothing(tmp_path: Path) -> None:
    subject = emulator(tmp_path)
    elsewhere = tmp_path / "etc"
    elsewhere.mkdir(mode=0o755)
    subject.state_dir.parent.mkdir(parents=True)
    subject.state_dir.symlink_to(elsewhere)
    with pytest.raises(OSError, match=r"Not a directory|Too many levels"):
        swtpm.make_state_dir(subject)
    assert elsewhere.stat().st_mode & 0o777 == 0o755


def test_the_state_directory_is_new_once_and_private(tmp_path: Path) -> None:
    subject = emulator(tmp_path)
    assert swtpm.make_state_dir(subject)
    assert subject.state_dir.stat().st_mode & 0o777 == 0o700
    (subject.state_dir / "tpm2-00.permall").write_bytes(b"keys")
    assert not swtpm.make_state_dir(subject)


async def test_a_setup_that_fails_leaves_no_state_and_says_why(tmp_path: Path) -> None:
    subject = emulator(tmp_path)
    swtpm.make_state_dir(subject)
    with pytest.raises(VirError, match=r"exitstatus: 3; Check error log .*: no keys"):
        await swtpm.set_up(subject)
    assert not subject.state_dir.exists()


def test_a_host_without_swtpm_is_told_so(programs: Path, tmp_path: Path) -> None:
    (programs / "swtpm").unlink()
    with (
        contextlib.ExitStack() as closing,
        pytest.raises(ConfError, match="Unable to find 'swtpm' binary"),
    ):
        swtpm.plan_command(emulator(tmp_path), 9, closing)
