"""Names that definitions on disk survive with."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conf.mapper.safe_parse import parse_tree
from conf.storage import format_pool, parse_pool
from supervisor.domd import definition_files as domains
from supervisor.domd.registry import domain_type
from supervisor.drivers.qemu import QEMU
from supervisor.objects.definition_files import escape_comment
from supervisor.runtime.paths import Paths
from supervisor.stord.definition_files import PoolFiles
from supervisor.stord.recovery import load
from supervisor.stord.registry import PoolRegistry

NAMES = [".hidden", "a---b", "--", "a-", "-->", "..."]
UUID = "c7a5fdbd-edaf-9455-926a-d65c16db1809"


@pytest.mark.parametrize("name", NAMES)
def test_a_pool_of_any_name_is_there_after_a_restart(tmp_path: Path, name: str) -> None:
    pool = parse_pool("<pool type='dir'><name>x</name><target><path>/p</path></target></pool>")
    pool.name = name
    PoolFiles(Paths.system(tmp_path)).save(name, format_pool(pool))
    registry = PoolRegistry()
    load(PoolFiles(Paths.system(tmp_path)), registry)
    assert [entry.name for entry in registry] == [name]


@pytest.mark.parametrize("name", [".hidden", "a---b", "--", "a-", "..."])
def test_a_domain_of_any_name_is_there_after_a_restart(tmp_path: Path, name: str) -> None:
    store = domains.DomainDefinitionFiles(domain_type(QEMU), Paths.system(tmp_path))
    document = f"<domain type='qemu'>\n  <name>{name}</name>\n  <uuid>{UUID}</uuid>\n</domain>\n"
    store.save(name, document)
    (stored,) = store.load_headers()
    assert stored.name == name


@given(st.text(alphabet="-<>! a"))
def test_no_name_ends_a_comment(name: str) -> None:
    tree = parse_tree(f"<!--\nvirsh pool-edit {escape_comment(name)}\n--><pool/>")
    assert tree.tag == "pool"


def test_pool_file_without_a_uuid_is_given_one_that_stays(tmp_path: Path) -> None:
    files = PoolFiles(Paths.system(tmp_path))
    files.save("p", "<pool type='dir'><name>p</name><target><path>/p</path></target></pool>")
    uuids = []
    for _ in range(2):
        registry = PoolRegistry()
        load(files, registry)
        uuids += [obj.uuid for obj in registry]
    assert len(uuids) == 2
    assert uuids[0] == uuids[1]
