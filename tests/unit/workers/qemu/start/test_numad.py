"""placement='auto': what numad advises, and a host without it."""

from __future__ import annotations

from pathlib import Path

import pytest

from conf.domain import Domain, format_domain, parse_domain
from conf.errors import ConfError
from rpc.errors import ErrorCode, VirError
from supervisor.objects.domain_status_xml import Status
from supervisor.workers.qemu.start.numad import cpus_of, follow_advice, refuse_without_advice

XML = (
    "<domain type='qemu'><name>x</name><memory unit='KiB'>33000</memory>"
    "<vcpu placement='{}'>2</vcpu><numatune><memory mode='strict' {}/></numatune>"
    "<os><type>hvm</type></os></domain>"
)
AUTO = XML.format("auto", "placement='auto'")
STATIC = XML.format("static", "nodeset='0'")


def status() -> Status:
    return Status(name="x", uuid="", id=1, state=1, reason=1)


def numad(folder: Path, script: str) -> str:
    path = folder / "numad"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return str(path)


def placed(domain: Domain) -> tuple[str | None, str | None]:
    assert domain.vcpu is not None
    assert domain.numatune is not None
    assert domain.numatune.memory is not None
    return domain.vcpu.cpuset, domain.numatune.memory.nodeset


async def test_the_advice_places_memory_and_vcpus_and_is_not_written(tmp_path: Path) -> None:
    domain, record = parse_domain(AUTO), status()
    before = format_domain(domain, live=True)
    program = numad(tmp_path, f'echo "$@" > {tmp_path}/asked; echo 0')
    await follow_advice(domain, record, program)
    assert (tmp_path / "asked").read_text() == "-w 2:33\n"
    assert record.advised_nodes == "0"
    assert placed(domain) == (record.advised_cpus or None, "0")
    assert format_domain(domain, live=True) == before


@pytest.mark.parametrize("script", ["exit 1", "echo nonsense", "kill -9 $$"])
async def test_without_advice_a_start_fails_as_stock_does(tmp_path: Path, script: str) -> None:
    for program in (numad(tmp_path, script), str(tmp_path / "absent")):
        with pytest.raises(VirError, match="Failed to query numad") as refused:
            await follow_advice(parse_domain(AUTO), status(), program)
        assert refused.value.code is ErrorCode.OPERATION_FAILED


async def test_a_guest_that_is_placed_already_needs_no_advice(tmp_path: Path) -> None:
    domain = parse_domain(STATIC)
    await follow_advice(domain, status(), str(tmp_path / "absent"))
    assert placed(domain) == (None, "0")
    refuse_without_advice(domain)


def test_a_command_line_has_no_advice() -> None:
    with pytest.raises(ConfError, match="Advice from numad is needed") as refused:
        refuse_without_advice(parse_domain(AUTO))
    assert refused.value.kind == "internal"
    refuse_without_advice(parse_domain(XML.format("auto", "nodeset='0'")))  # of the vcpus alone


def test_cpus_are_those_of_the_nodes_that_are_there(tmp_path: Path) -> None:
    for node, cpus in ((0, "0-1"), (1, "4"), (2, "")):
        (tmp_path / f"node{node}").mkdir()
        (tmp_path / f"node{node}/cpulist").write_text(f"{cpus}\n")
    assert cpus_of("0-3", tmp_path) == "0-1,4"
