"""The tree of a domain's checkpoints: lists, the current one, what a redefinition may not do."""

from __future__ import annotations

import pytest

from conf.checkpoint.model import Checkpoint
from conf.domain import parse_domain
from conf.moment.nested_domain import NestedDomain
from rpc.enums import DomainCheckpointListFlags as Flags
from rpc.errors import ErrorCode, ErrorDomain, VirError
from supervisor.domd.checkpoints.create import redefine
from supervisor.domd.checkpoints.store import reparent
from supervisor.domd.checkpoints.tree import CheckpointTree

UUID = "00000000-0000-4000-8000-000000000001"


def tree_of(**parents: str | None) -> CheckpointTree:
    """A tree of checkpoints with these parents, made one after the other."""
    tree = CheckpointTree()
    for number, (name, parent) in enumerate(parents.items()):
        tree.put(Checkpoint(name=name, parent=parent, creation_time=number))
    tree.current = tree.find_current()
    return tree


TREE = tree_of(a=None, b="a", c="b", d="a")


@pytest.mark.parametrize(
    ("flags", "below", "names"),
    [
        (0, "", "abcd"),
        (Flags.TOPOLOGICAL, "", "abcd"),
        (Flags.ROOTS, "", "a"),
        (Flags.LEAVES, "", "cd"),
        (Flags.NO_LEAVES, "", "ab"),
        (Flags.LEAVES | Flags.NO_LEAVES, "", ""),
        (Flags.ROOTS | Flags.LEAVES, "", ""),
        (0, "a", "bd"),
        (Flags.DESCENDANTS, "a", "bcd"),
        (Flags.DESCENDANTS | Flags.LEAVES, "a", "cd"),
        (Flags.NO_LEAVES, "a", "b"),
        (Flags.DESCENDANTS, "c", ""),
    ],
)
def test_a_list_has_what_its_filters_name(flags: int, below: str, names: str) -> None:
    assert "".join(one.name for one in TREE.list(flags, below)) == names


def test_the_newest_leaf_is_current_as_files_do_not_say_it() -> None:
    assert tree_of(a=None, b="a").current == "b"
    assert TREE.current == "d"
    assert tree_of().current is None


def test_the_children_of_a_deleted_checkpoint_get_its_parent() -> None:
    tree = tree_of(a=None, b="a", c="b", d="b")
    moved, parent = reparent(tree, "b")
    assert ([one.name for one in moved], parent) == (["c", "d"], "a")
    tree.remove("b")
    assert tree.children("a") == ["c", "d"]


def nested(uuid: str = UUID) -> NestedDomain:
    """A domain with one disk."""
    return NestedDomain.of(
        parse_domain(
            f"<domain type='kvm'><name>x</name><uuid>{uuid}</uuid><memory>1024</memory>"
            "<os><type>hvm</type></os><devices><disk type='file'><source file='/i'/>"
            "<target dev='vda'/></disk></devices></domain>"
        )
    )


@pytest.mark.parametrize(
    ("checkpoint", "domain", "why"),
    [
        (Checkpoint(name="a", parent="a"), ErrorDomain.DOMAIN, "as its own parent"),
        (Checkpoint(name="n", parent="z"), ErrorDomain.DOMAIN, "parent z for moment n not found"),
        (Checkpoint(name="a", parent="c"), ErrorDomain.DOMAIN, "would create cycle to a"),
        (
            Checkpoint(name="n", domain=nested("00000000-0000-4000-8000-000000000002")),
            ErrorDomain.DOMAIN_CHECKPOINT,
            f"must use uuid {UUID}",
        ),
    ],
)
def test_a_redefinition_that_cannot_be_is_refused(
    checkpoint: Checkpoint, domain: ErrorDomain, why: str
) -> None:
    with pytest.raises(VirError, match=why) as refused:
        redefine(TREE, checkpoint, uuid=UUID)
    assert (refused.value.code, refused.value.domain) == (ErrorCode.INVALID_ARG, domain)


def test_a_redefinition_has_the_disks_of_its_domain_and_keeps_that_of_the_earlier_one() -> None:
    tree = tree_of(a=None)
    first = Checkpoint(name="a", domain=nested())
    redefine(tree, first, uuid=UUID)
    assert [(disk.name, disk.bitmap) for disk in first.disks] == [("vda", "a")]
    tree.put(first)
    second = Checkpoint(name="a")
    redefine(tree, second, uuid=UUID)
    assert second.domain is first.domain
