"""Hook scripts that may replace the XML of a guest that is restored."""

from __future__ import annotations

from pathlib import Path

import pytest

from rpc.errors import ErrorCode, VirError
from supervisor.runtime.hooks import Hooks


def script(path: Path, body: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)


async def test_a_script_that_prints_xml_replaces_it_and_the_next_one_gets_that(
    tmp_path: Path,
) -> None:
    script(tmp_path / "qemu", 'test "$*" = "web restore begin -" && sed s/a/b/')
    script(tmp_path / "qemu.d/10", "cat >/dev/null")
    script(tmp_path / "qemu.d/20", "sed s/b/c/")
    assert await Hooks(tmp_path / "qemu").edit("web", "restore", "<a/>") == "<c/>"


async def test_a_script_that_fails_refuses_the_restore(tmp_path: Path) -> None:
    script(tmp_path / "qemu", "echo no >&2; exit 3")
    with pytest.raises(VirError, match="web restore begin exited with 3: no") as refused:
        await Hooks(tmp_path / "qemu").edit("web", "restore", "<a/>")
    assert refused.value.code is ErrorCode.HOOK_SCRIPT_FAILED
