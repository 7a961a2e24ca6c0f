"""Dirty bitmaps of checkpoints: what is planned; no write since a checkpoint is missing."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rpc.errors import ErrorCode, VirError
from supervisor.workers.qemu.block.bitmaps import (
    ACTIVE_WRITES,
    Action,
    Bitmap,
    add,
    before_pivot,
    checkpoint_actions,
    deletion,
    incremental_actions,
    is_chain_valid,
    job_end_actions,
    merge,
    overlay_actions,
    remove,
)

GOOD = Bitmap(name="c1", recording=True, persistent=True)


@dataclass
class ModelBitmap:
    """A bitmap as QEMU has it: which clusters it notes."""

    persistent: bool
    recording: bool
    inconsistent: bool = False
    clusters: set[int] = field(default_factory=set)


class ModelQemu:
    """What QEMU does with bitmaps: nodes, transactions, writes."""

    def __init__(self) -> None:
        self.nodes: dict[str, dict[str, ModelBitmap]] = {}

    def transaction(self, actions: list[Action]) -> None:
        for action in actions:
            self._act(str(action["type"]), action["data"])

    def _act(self, type_: str, data: Any) -> None:
        bitmaps = self.nodes[data["node"]]
        match type_:
            case "block-dirty-bitmap-add":
                assert data["name"] not in bitmaps, "QEMU refuses a second one"
                bitmaps[data["name"]] = ModelBitmap(data["persistent"], not data["disabled"])
            case "block-dirty-bitmap-remove":
                del bitmaps[data["name"]]
            case "block-dirty-bitmap-merge":
                target = bitmaps[data["target"]]
                assert not target.inconsistent, "QEMU refuses to change it"
                for item in data["bitmaps"]:
                    source = self.nodes[item["node"]][item["name"]]
                    assert not source.inconsistent, "QEMU refuses to read it"
                    target.clusters |= source.clusters

    def write(self, node: str, cluster: int) -> None:
        for bitmap in self.nodes[node].values():
            if bitmap.recording and not bitmap.inconsistent:
                bitmap.clusters.add(cluster)

    def found(self) -> dict[str, dict[str, Bitmap]]:
        return {
            node: {
                name: Bitmap(
                    name=name,
                    persistent=one.persistent,
                    recording=one.recording and not one.inconsistent,
                    inconsistent=one.inconsistent,
                )
                for name, one in bitmaps.items()
            }
            for node, bitmaps in self.nodes.items()
        }


class ModelDisk:
    """A disk that is written, checkpointed, snapshotted, merged; and what a right answer is."""

    def __init__(self) -> None:
        self.qemu = ModelQemu()
        self.chain = ["n0"]
        self.data: dict[str, set[int]] = {"n0": set()}  # the clusters each image has
        self.qemu.nodes["n0"] = {}
        self.since: dict[str, set[int]] = {}
        self.exact = True  # no commit has written to an image whose bitmaps note that
        self.count = 0

    def _new(self) -> str:
        self.count += 1
        return f"n{self.count}"

    def write(self, cluster: int) -> None:
        self._written(self.chain[0], cluster)
        for clusters in self.since.values():
            clusters.add(cluster)

    def _written(self, node: str, cluster: int) -> None:
        self.qemu.write(node, cluster)
        self.data[node].add(cluster)

    def checkpoint(self) -> None:
        self.count += 1
        name = f"c{self.count}"
        self.qemu.transaction(checkpoint_actions([self.chain[0]], name))
        self.since[name] = set()

    def delete(self, number: int) -> None:
        if not self.since:
            return
        name = sorted(self.since)[number % len(self.since)]
        try:
            plan = deletion(self.chain, name, self.qemu.found(), disk="vda")
        except VirError:
            assert self.lost(name), f"{name} is there, and not found"
            return
        self.qemu.transaction(plan.actions)
        del self.since[name]

    def snapshot(self) -> None:
        node = self._new()
        self.qemu.nodes[node], self.data[node] = {}, set()
        self.qemu.transaction(overlay_actions(self.chain[0], node, self.qemu.found()))
        self.chain.insert(0, node)

    def pull(self, place: int) -> None:
        base = place % (len(self.chain) + 1)
        if base < 2:
            return
        for node in self.chain[1:base]:
            for cluster in self.data[node] - self.data[self.chain[0]]:
                self._written(self.chain[0], cluster)
        self._merged(self.chain[:base], self.chain[0])
        self.chain = [self.chain[0], *self.chain[base:]]
        self.exact = False

    def commit(self, top: int, base: int, late: list[int]) -> None:
        if len(self.chain) < 2:
            return
        top %= len(self.chain) - 1
        base = top + 1 + base % (len(self.chain) - top - 1)
        target = self.chain[base]
        for node in self.chain[top:base]:
            for cluster in self.data[node]:
                self._written(target, cluster)
        if top == 0:
            self._pivot(target, late)
        self._merged(self.chain[top:base], target)
        self.chain = self.chain[:top] + self.chain[base:]
        self.exact = False

    def copy(self, late: list[int], *, shallow: bool) -> None:
        target = self._new()
        self.qemu.nodes[target], self.data[target] = {}, set()
        copied = self.chain[:1] if shallow else self.chain
        for node in copied:
            self.data[target] |= self.data[node]
        self._pivot(target, late)
        self._merged(copied, target)
        self.chain = [target, *self.chain[len(copied) :]]

    def _pivot(self, target: str, late: list[int]) -> None:
        self.qemu.transaction(before_pivot(target, self.qemu.found()))
        self.qemu.transaction(before_pivot(target, self.qemu.found()))  # a second attempt
        for cluster in late:  # the guest writes to the target before the job's end is handled
            self._written(target, cluster)
            for clusters in self.since.values():
                clusters.add(cluster)

    def _merged(self, sources: list[str], target: str) -> None:
        plan = job_end_actions(sources, target, self.qemu.found())
        self.qemu.transaction(plan)
        # A worker that died has another one do it again.
        self.qemu.transaction(job_end_actions(sources, target, self.qemu.found()))

    def crash(self) -> None:
        """QEMU is killed: the bitmaps of the image that it wrote to are lost."""
        for bitmap in self.qemu.nodes[self.chain[0]].values():
            bitmap.inconsistent = True

    def check(self) -> None:
        for name, written in self.since.items():
            found = self.qemu.found()
            try:
                plan = incremental_actions(self.chain, name, found, disk="vda", into="tmp")
            except VirError as error:
                if error.code is ErrorCode.CHECKPOINT_INCONSISTENT and self.lost(name):
                    continue
                raise
            self.qemu.transaction(plan)
            noted = self.qemu.nodes[self.chain[0]].pop("tmp").clusters
            assert noted >= written, f"{name} misses {written - noted}"
            if self.exact:
                assert noted == written

    def lost(self, name: str) -> bool:
        return any(
            (one := self.qemu.nodes[node].get(name)) is None or one.inconsistent
            for node in self.chain[:1]
        ) or any(
            bitmaps[name].inconsistent for bitmaps in self.qemu.nodes.values() if name in bitmaps
        )


CLUSTERS = st.integers(0, 7)
NUMBERS = st.integers(0, 5)
LATE = st.lists(CLUSTERS, max_size=3)
STEPS = st.one_of(
    st.tuples(st.just("write"), CLUSTERS),
    st.tuples(st.just("write"), CLUSTERS),
    st.tuples(st.just("checkpoint")),
    st.tuples(st.just("snapshot")),
    st.tuples(st.just("delete"), NUMBERS),
    st.tuples(st.just("pull"), NUMBERS),
    st.tuples(st.just("commit"), NUMBERS, NUMBERS, LATE),
    st.tuples(st.just("copy"), LATE, st.booleans()),
)


def run(steps: list[tuple[Any, ...]]) -> ModelDisk:
    disk = ModelDisk()
    for name, *values in steps:
        if name == "copy":
            disk.copy(values[0], shallow=values[1])
        else:
            getattr(disk, name)(*values)
        disk.check()
        assert not any(ACTIVE_WRITES in bitmaps for bitmaps in disk.qemu.nodes.values())
    return disk


@given(st.lists(STEPS, max_size=25))
def test_no_write_since_a_checkpoint_is_missing_whatever_happened_to_the_images(
    steps: list[tuple[Any, ...]],
) -> None:
    disk = run(steps)
    found = disk.qemu.found()
    for name in disk.since:
        assert is_chain_valid(disk.chain, name, found), "no bitmap is lost"


@settings(max_examples=200)
@given(st.lists(st.one_of(STEPS, st.tuples(st.just("crash"))), max_size=25))
def test_after_a_killed_qemu_a_checkpoint_is_whole_or_refused(steps: list[tuple[Any, ...]]) -> None:
    run(steps)


def test_a_checkpoint_adds_one_enabled_persistent_bitmap_a_disk() -> None:
    assert checkpoint_actions(["a", "b"], "c1") == [
        {
            "type": "block-dirty-bitmap-add",
            "data": {"node": node, "name": "c1", "persistent": True, "disabled": False},
        }
        for node in ("a", "b")
    ]


def test_an_incremental_bitmap_is_temporary_and_as_coarse_as_the_coarsest() -> None:
    coarse = Bitmap(name="c1", recording=True, persistent=True, granularity=1 << 20)
    found = {"top": {"c1": GOOD}, "low": {"c1": coarse}, "base": {}}
    plan = incremental_actions(["top", "low", "base"], "c1", found, disk="vda", into="backup-vda")
    assert plan == [
        add("top", "backup-vda", persistent=False, disabled=True, granularity=1 << 20),
        merge("top", "backup-vda", [("top", "c1"), ("low", "c1")]),
    ]
    elsewhere = incremental_actions(["top"], "c1", found, disk="vda", into="x", node="scratch")
    assert elsewhere[0] == add("scratch", "x", persistent=False, disabled=True, granularity=65536)


@pytest.mark.parametrize(
    "found",
    [
        {},
        {"low": {"c1": GOOD}},  # the top image notes nothing
        {"top": {"c1": GOOD}, "base": {"c1": GOOD}},  # a hole
        {"top": {"c1": Bitmap(name="c1", persistent=True, inconsistent=True)}},
        {"top": {"c1": Bitmap(name="c1", persistent=True)}},  # disabled
        {"top": {"c1": Bitmap(name="c1", recording=True)}},  # another program's
    ],
)
def test_a_chain_whose_bitmaps_do_not_say_every_write_is_refused(
    found: dict[str, dict[str, Bitmap]],
) -> None:
    with pytest.raises(VirError, match="missing or broken bitmap 'c1' for disk 'vda'") as refused:
        incremental_actions(["top", "low", "base"], "c1", found, disk="vda", into="x")
    assert refused.value.code is ErrorCode.CHECKPOINT_INCONSISTENT


def test_deletion_removes_the_bitmap_from_every_image_and_says_which_must_be_opened() -> None:
    bad = Bitmap(name="c1", persistent=True, inconsistent=True)
    plan = deletion(["top", "low"], "c1", {"top": {"c1": GOOD}, "low": {"c1": bad}}, disk="vda")
    assert plan.actions == [remove("top", "c1"), remove("low", "c1")]
    assert plan.reopen == ["low"]


def test_deletion_of_a_bitmap_that_no_image_has_is_an_error() -> None:
    with pytest.raises(VirError, match="bitmap 'c1' not found in backing chain of 'vda'"):
        deletion(["top"], "c1", {}, disk="vda")


def test_an_overlay_gets_no_bitmap_of_another_program_or_of_a_lost_checkpoint() -> None:
    found = {
        "top": {
            "c1": GOOD,
            "tmp": Bitmap(name="tmp", recording=True),
            "off": Bitmap(name="off", persistent=True),
            "bad": Bitmap(name="bad", persistent=True, inconsistent=True),
        }
    }
    assert overlay_actions("top", "new", found) == [add("new", "c1", granularity=65536)]
