"""<domaincheckpoint> documents: the codes with which libvirt 9.0 refused them, and what it kept."""

from __future__ import annotations

import json
from typing import Any, Final

import pytest

from conf.checkpoint.checkpoint_xml import format_checkpoint, parse_checkpoint
from conf.checkpoint.model import Checkpoint
from conf.domain import parse_domain
from conf.errors import ConfError
from conf.schema import SCHEMAS, validate_document
from rpc.errors import VirError
from supervisor.dispatch.errors import from_conf_error
from supervisor.domd.checkpoints.create import redefine
from supervisor.domd.checkpoints.tree import CheckpointTree
from tests.paths import SHARED

CORPUS: Final = SHARED / "corpus/checkpoint.jsonl"
pytestmark = [
    pytest.mark.skipif(not CORPUS.exists(), reason=f"no {CORPUS}: measured elsewhere"),
    pytest.mark.skipif(not SCHEMAS.is_dir(), reason=f"no {SCHEMAS}: libvirt0 is not installed"),
]


def records() -> list[Any]:
    """The recorded documents."""
    if not CORPUS.exists():
        return []
    return [json.loads(line) for line in CORPUS.read_text().splitlines()]


def kept(record: dict[str, Any]) -> str:
    """What is kept of a redefined checkpoint; defaults of the domain in it are not filled in."""
    tree = CheckpointTree()
    domain, *earlier = record["setup"]
    uuid = parse_domain(domain).uuid or ""
    for xml in (*earlier, record["input"]):
        validate_document(xml, "domaincheckpoint.rng", Checkpoint)
        checkpoint = parse_checkpoint(xml, redefine=True)
        redefine(tree, checkpoint, uuid=uuid)
        tree.put(checkpoint)
    return format_checkpoint(checkpoint, secure=True)


@pytest.mark.parametrize("record", records(), ids=lambda record: record["name"])
def test_a_document_is_kept_or_refused_as_by_libvirt(record: dict[str, Any]) -> None:
    if record["accepted"]:
        assert kept(record) == record["output"]
        return
    with pytest.raises((ConfError, VirError)) as refused:
        kept(record)
    error = refused.value
    if isinstance(error, ConfError):
        error = from_conf_error(error)
    assert isinstance(error, VirError)
    assert error.code == record["code"]
    assert record["message"].endswith(error.detail[-200:])
