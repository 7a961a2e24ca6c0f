"""The tree of a domain's snapshots: relations, lists, what a redefinition may not do."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conf.errors import ConfError
from conf.snapshot.model import Snapshot, SnapshotDisk
from rpc.enums import DomainSnapshotListFlags as Flags
from supervisor.domd.snapshots.delete import removes_images
from supervisor.domd.snapshots.tree import SnapshotTree

NAMES = "abcdefgh"


def tree_of(parents: dict[str, str | None]) -> SnapshotTree:
    """A tree of snapshots with these parents."""
    tree = SnapshotTree()
    for name, parent in parents.items():
        tree.put(Snapshot(name=name, parent=parent, state="shutoff"))
    return tree


#: Any parent, also one that is missing, its own, or a circle: files can say anything.
PARENTS = st.dictionaries(
    st.sampled_from(NAMES), st.none() | st.sampled_from(f"{NAMES}z"), max_size=8
)


@given(PARENTS)
def test_each_snapshot_is_below_the_root_once_and_after_its_parent(
    parents: dict[str, str | None],
) -> None:
    tree = tree_of(parents)
    order = tree.descendants("")
    assert sorted(order) == sorted(parents)
    for name in order:
        parent = tree.parent(name)
        assert parent is None or order.index(parent) < order.index(name)
        assert name in tree.children(parent or "")
        assert tree.ancestors(name)[:1] == ([parent] if parent else [])


@given(PARENTS, st.integers(0, 0x7FF), st.sampled_from(["", *NAMES]))
def test_a_list_has_what_its_filters_name(
    parents: dict[str, str | None], flags: int, below: str
) -> None:
    tree = tree_of(parents)
    listed = [snapshot.name for snapshot in tree.list(flags, below)]
    within = tree.descendants(below)
    assert len(set(listed)) == len(listed)
    assert set(listed) <= set(within)
    if flags & (Flags.METADATA | Flags.NO_METADATA) == Flags.NO_METADATA:
        assert not listed
    if flags & (Flags.LEAVES | Flags.NO_LEAVES) == Flags.LEAVES:
        assert not any(tree.children(name) for name in listed)
    # One bit narrows the list of a domain to its roots, and widens that of a snapshot.
    if flags & Flags.ROOTS and not below:
        assert set(listed) <= set(tree.children(""))


def test_filters_of_a_group_are_alternatives_and_groups_are_not() -> None:
    tree = SnapshotTree()
    tree.put(Snapshot(name="off", state="shutoff"))
    tree.put(Snapshot(name="on", state="running"))
    external = SnapshotDisk(name="vda", snapshot="external")
    tree.put(Snapshot(name="disk", state="disk-snapshot", disks=[external]))

    def names(flags: int) -> list[str]:
        return [snapshot.name for snapshot in tree.list(flags)]

    assert names(Flags.INACTIVE | Flags.ACTIVE) == ["off", "on"]
    assert names(Flags.DISK_ONLY) == names(Flags.EXTERNAL) == ["disk"]
    assert names(Flags.INTERNAL | Flags.ACTIVE) == ["on"]
    assert names(Flags.INTERNAL | Flags.EXTERNAL) == ["off", "on", "disk"]


@pytest.mark.parametrize(
    ("parent", "message"),
    [
        ("a", "cannot set moment a as its own parent"),
        ("nobody", "parent nobody for moment a not found"),
        ("c", "parent c would create cycle to a"),
    ],
)
def test_an_impossible_parent_is_refused(parent: str, message: str) -> None:
    tree = tree_of({"a": None, "b": "a", "c": "b"})
    with pytest.raises(ConfError) as refused:
        tree.check_parent(Snapshot(name="a", parent=parent))
    assert (refused.value.kind, refused.value.message) == ("invalid_arg", message)


def test_each_change_is_told_of() -> None:
    told: list[None] = []
    tree = tree_of({"a": None, "b": "a"})
    tree.on_change = lambda: told.append(None)
    extra = Snapshot(name="c", parent="b", state="shutoff")
    changes: list[Callable[[], object]] = [
        lambda: tree.put(extra),
        lambda: setattr(tree, "current", "c"),
        lambda: tree.remove("c"),
        tree.moved,
        tree.sort,
        tree.clear,
    ]
    for change in changes:
        told.clear()
        change()
        assert told
    assert tree.current is None


def test_a_delete_that_a_death_interrupted_goes_on_merging_and_removes_no_image_in_use() -> None:
    tree = tree_of({"a": None, "b": "a", "c": "a"})
    tree.current = "c"
    leaf, current, inner = (tree.get(name) for name in ("b", "c", "a"))
    assert leaf is not None
    assert current is not None
    assert inner is not None
    assert removes_images(tree, leaf)
    assert not removes_images(tree, current)
    assert not removes_images(tree, inner)
    current.is_deleted = True  # its overlay is merged, and the parent is the current one by now
    tree.current = "a"
    assert not removes_images(tree, current)
