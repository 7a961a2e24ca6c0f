"""Checkpoints' files: read, written, and settled after a death in the middle."""

from __future__ import annotations

from pathlib import Path
from uuid import UUID

import pytest

from conf.checkpoint.model import Checkpoint
from rpc.errors import ErrorCode, VirError
from supervisor.domd.checkpoints.create import is_refusal
from supervisor.domd.checkpoints.store import CheckpointStore
from supervisor.domd.domain import DomainObject
from supervisor.domd.registry import domain_type
from supervisor.drivers.qemu import QEMU
from supervisor.runtime.paths import Paths


class Images:
    """What QEMU has: the names of bitmaps; and how often it was asked."""

    def __init__(self, *names: str) -> None:
        self.names = set(names)
        self.asked = 0
        self.silent = False

    async def is_made(self, domain: DomainObject, checkpoint: Checkpoint) -> bool:
        self.asked += 1
        if self.silent:
            raise domain.errors.operation_timeout("the worker is silent")
        return checkpoint.name in self.names


def web() -> DomainObject:
    """A domain as a fresh domd has it."""
    return DomainObject(domain_type(QEMU), name="web", uuid=UUID(int=1).bytes)


@pytest.fixture
def images() -> Images:
    return Images()


@pytest.fixture
def store(tmp_path: Path, images: Images) -> CheckpointStore:
    return CheckpointStore(Paths.system(tmp_path), lambda: None, images.is_made)


def checkpoint(name: str, parent: str | None = None, time: int = 1) -> Checkpoint:
    return Checkpoint(name=name, parent=parent, creation_time=time)


async def make(store: CheckpointStore, domain: DomainObject, *names: str) -> None:
    """Make checkpoints, each below the one before."""
    for number, name in enumerate(names):
        await store.tree(domain)
        made = checkpoint(name, names[number - 1] if number else None, number)
        await store.begin_create(domain, made)
        await store.finish_create(domain, made)


async def names(store: CheckpointStore, domain: DomainObject) -> dict[str, str | None]:
    return {one.name: one.parent for one in (await store.tree(domain)).list(0)}


def files(store: CheckpointStore) -> list[str]:
    folder = store.folder(web())
    return sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []


async def test_the_next_domd_reads_what_was_made(store: CheckpointStore, images: Images) -> None:
    domain = web()
    await make(store, domain, "a", "b", "c")
    assert domain.checkpoints is not None
    assert domain.checkpoints.current == "c"
    again = web()
    assert await names(store, again) == {"a": None, "b": "a", "c": "b"}
    assert again.checkpoints is not None
    assert again.checkpoints.current == "c"
    assert images.asked == 0


@pytest.mark.parametrize("done", [True, False])
async def test_a_domd_that_died_making_one_is_followed_by_one_that_asks(
    store: CheckpointStore, images: Images, *, done: bool
) -> None:
    await make(store, web(), "a")
    await store.begin_create(web(), checkpoint("b", "a", 1))
    if done:
        images.names.add("b")
    assert list(await names(store, web())) == (["a", "b"] if done else ["a"])
    assert files(store) == (["a.xml", "b.xml"] if done else ["a.xml"])


@pytest.mark.parametrize("done", [True, False])
async def test_a_domd_that_died_deleting_one_is_followed_by_one_that_asks(
    store: CheckpointStore, images: Images, *, done: bool
) -> None:
    await make(store, web(), "a", "b", "c")
    await store.begin_delete(web(), "b")
    images.names = {"a", "c"} if done else {"a", "b", "c"}
    expected = {"a": None, "c": "a"} if done else {"a": None, "b": "a", "c": "b"}
    assert await names(store, web()) == expected
    assert files(store) == [f"{name}.xml" for name in expected]


async def test_while_nobody_answers_nothing_is_decided(
    store: CheckpointStore, images: Images
) -> None:
    await store.begin_create(web(), checkpoint("a"))
    images.silent = True
    domain = web()
    with pytest.raises(VirError, match="silent"):
        await store.tree(domain)
    assert files(store) == ["a.xml.creating"]
    images.silent, images.names = False, {"a"}
    assert list(await names(store, domain)) == ["a"]


async def test_a_domd_that_starts_settles_what_it_can(
    store: CheckpointStore, images: Images
) -> None:
    await store.begin_create(web(), checkpoint("a"))
    images.silent = True
    await store.settle_all([web()])
    assert files(store) == ["a.xml.creating"]
    images.silent = False
    await store.settle_all([web()])
    assert files(store) == []


async def test_a_mark_that_cannot_be_read_keeps_no_other_from_being(store: CheckpointStore) -> None:
    await make(store, web(), "a")
    folder = store.folder(web())
    (folder / "b.xml.creating").write_text("<domaincheck")
    (folder / "z.xml.deleting").write_text("")
    (folder / "d.xml").write_text("damaged")
    assert list(await names(store, web())) == ["a"]
    assert files(store) == ["a.xml", "d.xml"]


async def test_deleting_gives_children_the_parent_and_the_parent_is_current(
    store: CheckpointStore,
) -> None:
    domain = web()
    await make(store, domain, "a", "b", "c")
    await store.finish_delete(domain, "b")
    assert await names(store, domain) == await names(store, web()) == {"a": None, "c": "a"}
    await store.finish_delete(domain, "c")
    assert domain.checkpoints is not None
    assert domain.checkpoints.current == "a"
    await store.finish_delete(domain, "a")
    assert not domain.checkpoints.list(0)
    assert files(store) == []


async def test_a_domain_that_ceases_to_be_leaves_nothing(store: CheckpointStore) -> None:
    domain = web()
    await make(store, domain, "a")
    await store.begin_create(domain, checkpoint("b"))
    await store.discard_all(domain)
    assert not store.folder(domain).exists()


def test_only_an_answer_says_that_nothing_was_done() -> None:
    errors = web().errors
    assert is_refusal(errors.error(ErrorCode.INTERNAL_ERROR, "QEMU says no"))
    assert not is_refusal(errors.operation_timeout("QEMU is silent"))
    assert not is_refusal(ConnectionError())
