"""Random calls and changed documents to a real daemon: none is unforeseen, no process ends."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from tests.clients.daemon import Daemon
from tests.clients.namespace import own_mounts, own_network, shown
from tests.fuzz.live import SHARES, fuzz_calls, fuzz_documents, prepare, processes, unforeseen

CALLS: Final = 500  # of each kind of client; the same each time
EACH: Final = 4  # documents for each call that takes one


def test_random_calls_and_documents_are_answered_or_refused(tmp_path: Path) -> None:
    with own_network(), own_mounts():
        shown("mount", "--bind", str(tmp_path), str(tmp_path))
        shown("mount", "-o", "remount,bind,ro", "/")  # the machine's files are no target
        (tmp_path / "root").mkdir()
        with Daemon(root=tmp_path / "root") as daemon:
            prepare(daemon.root)
            before = processes(daemon.root)
            documents = fuzz_documents(daemon.root, EACH, 1, each=EACH)
            assert set(documents) == {"accepted", "refused"}
            for seed, (uri, read_only) in enumerate(SHARES):
                tally = fuzz_calls(daemon.root, CALLS, seed, read_only=read_only, uri=uri)
                assert tally["answered"]
                assert tally["refused"]
            after = processes(daemon.root)
            assert {name: after[name][:2] for name in before} == {
                name: row[:2] for name, row in before.items()
            }
            assert unforeseen(daemon.log) == []
