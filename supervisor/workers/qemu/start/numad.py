"""Advice of numad for placement='auto': the nodes of the host on which a guest is to run.

Owns: asking for it. May touch: the program numad; /sys, to read.
Source: libvirt 9.0, virNumaGetAutoPlacementAdvice, qemuProcessPrepareDomainNUMAPlacement; numad(8).
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from conf.domain import Domain
from conf.domain.numatune import needs_advice, needs_memory_advice, place
from conf.errors import ConfError
from conf.types.cpuset import format_cpuset, parse_cpuset
from rpc.errors import ErrorCode, ErrorDomain, VirError
from supervisor.objects.domain_status_xml import Status
from supervisor.runtime import subprocesses

PROGRAM: Final = "numad"
ADVICE_S: Final = 30.0
NODES: Final = Path("/sys/devices/system/node")
KIB_PER_MIB: Final = 1024


async def follow_advice(domain: Domain, status: Status, program: str = PROGRAM) -> None:
    """Place a domain that is started where numad advises, and record that in its status.

    Raises:
        VirError: OPERATION_FAILED: numad is not installed, or gives no advice.
    """
    if not needs_advice(domain):
        return
    status.advised_nodes = await ask_numad(domain.current_vcpus, domain.memory, program)
    status.advised_cpus = cpus_of(status.advised_nodes)
    place(domain, status.advised_nodes, status.advised_cpus)


async def ask_numad(vcpus: int, kib: int, program: str) -> str:
    """Ask numad for the best nodes.

    Raises:
        VirError: OPERATION_FAILED.
    """
    argv = [program, "-w", f"{vcpus}:{-(-kib // KIB_PER_MIB)}"]
    try:
        done = await subprocesses.run(argv, deadline_s=ADVICE_S)
        if done.code == 0:
            return format_cpuset(parse_cpuset(done.output.strip()))
    except (OSError, TimeoutError, ValueError) as error:
        raise _no_advice() from error
    raise _no_advice()


def _no_advice() -> VirError:
    detail = "Failed to query numad for the advisory nodeset"
    return VirError(ErrorCode.OPERATION_FAILED, detail, ErrorDomain.NONE)


def cpus_of(nodes: str, folder: Path = NODES) -> str:
    """List the processors of the host's nodes; nodes that are not there have none."""
    cpus: set[int] = set()
    for node in parse_cpuset(nodes):
        try:
            text = (folder / f"node{node}/cpulist").read_text().strip()
            cpus |= parse_cpuset(text) if text else set()
        except OSError:
            continue
    return format_cpuset(cpus)


def refuse_without_advice(domain: Domain) -> None:
    """Refuse the command line of a domain that is not started: numad is not asked for it.

    Raises:
        ConfError: "internal".
    """
    if needs_memory_advice(domain):
        detail = "Advice from numad is needed in case of automatic numa placement"
        raise ConfError("internal", detail)
