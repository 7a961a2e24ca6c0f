"""<domainsnapshot> documents: the codes with which libvirt 9.0 refused them, and what it kept."""

from __future__ import annotations

import json
from typing import Any, Final

import pytest

from conf.domain import parse_domain
from conf.errors import ConfError
from conf.snapshot.snapshot_xml import format_snapshot, parse_snapshot
from supervisor.dispatch.errors import from_conf_error
from supervisor.domd.snapshots.redefine import check_redefined
from supervisor.domd.snapshots.tree import SnapshotTree
from tests.paths import SHARED

CORPUS: Final = SHARED / "corpus/snapshot.jsonl"
pytestmark = pytest.mark.skipif(not CORPUS.exists(), reason=f"no {CORPUS}: measured elsewhere")


def records() -> list[Any]:
    """The recorded documents."""
    if not CORPUS.exists():
        return []
    return [json.loads(line) for line in CORPUS.read_text().splitlines()]


def redefine(record: dict[str, Any]) -> str:
    """What is kept of a redefined snapshot; defaults of the domain in it are not filled in."""
    tree = SnapshotTree()
    domain, *earlier = record["setup"]
    uuid = parse_domain(domain).uuid or ""
    for xml in (*earlier, record["input"]):
        snapshot = parse_snapshot(xml, redefine=True)
        check_redefined(tree, snapshot, uuid=uuid, flags=1)
        tree.put(snapshot)
    return format_snapshot(snapshot, uuid=uuid, secure=True)


@pytest.mark.parametrize("record", records(), ids=lambda record: record["name"])
def test_a_document_is_kept_or_refused_as_by_libvirt(record: dict[str, Any]) -> None:
    if not record["accepted"]:
        with pytest.raises(ConfError) as refused:
            redefine(record)
        assert from_conf_error(refused.value).code == record["code"]
        assert record["message"].endswith(refused.value.message)
        return
    head, _, _ = redefine(record).partition("  <domain ")
    assert head == record["output"].partition("  <domain ")[0]
