"""Changing from which nodes a guest has its memory, as stock does it."""

from __future__ import annotations

import pytest

from conf.domain import Domain, parse_domain
from conf.domain.numatune import check_running, set_numa_memory
from conf.errors import ConfError


def domain(memory: str = "") -> Domain:
    tune = f"<numatune>{memory}</numatune>" if memory else ""
    return parse_domain(
        f"<domain type='qemu'><name>d</name><memory>1024</memory>{tune}"
        "<os><type>hvm</type></os></domain>"
    )


def now(of: Domain) -> tuple[str | None, str | None] | None:
    memory = of.numatune.memory if of.numatune else None
    return None if memory is None else (memory.mode, memory.nodeset)


def test_a_guest_gets_nodes_before_it_gets_a_mode() -> None:
    changed = domain()
    with pytest.raises(ConfError, match="nodeset for NUMA memory tuning must be set"):
        set_numa_memory(domain(), "restrictive", None)
    set_numa_memory(changed, None, "0")
    assert now(changed) == ("strict", "0")
    set_numa_memory(changed, "restrictive", None)
    assert now(changed) == ("restrictive", "0")


@pytest.mark.parametrize(
    ("memory", "mode", "nodeset", "words"),
    [
        ("", None, "1", ""),
        ("", "interleave", "1", ""),
        ("<memory mode='strict' nodeset='0'/>", "strict", "0", ""),
        ("<memory mode='strict' nodeset='0'/>", "strict", "1", "can't change nodeset for strict"),
        ("<memory mode='strict' nodeset='0'/>", None, "0", "requires restrictive numa mode"),
        ("<memory mode='strict' nodeset='0'/>", "preferred", "0", "can't change numatune mode"),
        ("<memory mode='restrictive' nodeset='0'/>", None, "1", ""),
        ("<memory mode='restrictive' nodeset='0'/>", "restrictive", "0-1", ""),
        ("<memory mode='interleave' nodeset='0'/>", None, "1", "requires restrictive numa mode"),
    ],
)
def test_only_a_restrictive_guest_moves(
    memory: str, mode: str | None, nodeset: str, words: str
) -> None:
    running = domain(memory)
    if not words:
        check_running(running, mode, nodeset)
        return
    with pytest.raises(ConfError, match=words) as refusal:
        check_running(running, mode, nodeset)
    assert refusal.value.kind == "operation_invalid"
