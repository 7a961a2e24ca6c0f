"""Volumes' documents, made by our daemon and described again, beside what stock said."""

from __future__ import annotations

import json
import re
from typing import Any, Final
from xml.etree import ElementTree

import pytest

from tests.clients.daemon import Daemon
from tests.clients.libvirt_binding import libvirt
from tests.paths import SHARED

CORPUS: Final = SHARED / "corpus/storage-volume.jsonl"

pytestmark = pytest.mark.skipif(not CORPUS.exists(), reason=f"{CORPUS} is not on this machine")


def normal(document: str, folder: str) -> Any:
    """A document as values, without what depends on the run."""
    text = document.replace(folder, "@POOL@")
    text = re.sub(r"<(atime|mtime|ctime|btime)>[\d.]+<", r"<\1>@TIME@<", text)
    text = re.sub(r"(<allocation unit='bytes'>)\d+<", r"\1@ALLOCATION@<", text)
    return tree(ElementTree.fromstring(text))


def tree(element: ElementTree.Element) -> Any:
    """An element and all below it."""
    words = (element.text or "").strip()
    return (element.tag, sorted(element.attrib.items()), words, [tree(below) for below in element])


def answer(pool: Any, document: str) -> tuple[int, str]:
    """The code of the refusal, or 0 and the document of the volume that was made."""
    try:
        volume = pool.createXML(document, 0)
    except libvirt.libvirtError as refused:
        return refused.get_error_code(), ""
    described = volume.XMLDesc(0)
    volume.delete(0)
    return 0, described


def test_volumes_are_made_and_described_as_stock_does(daemon: Daemon) -> None:
    folder = daemon.root / "corpus"
    daemon.ok("pool-create-as", "corpus", "dir", "--target", str(folder), "--build")
    link = libvirt.open(daemon.uri)
    try:
        pool = link.storagePoolLookupByName("corpus")
        wrong = []
        for line in CORPUS.read_text().splitlines():
            case = json.loads(line)
            code, described = answer(pool, case["input"])
            if case["accepted"]:
                same = code == 0 and normal(described, str(folder)) == normal(
                    case["output"], "@POOL@"
                )
            else:
                same = code == case["code"]
            if not same:
                wrong.append(case["name"])
        assert wrong == []
    finally:
        link.close()
        daemon.ok("pool-destroy", "corpus")
