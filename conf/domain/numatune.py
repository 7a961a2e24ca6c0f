"""Changing from which of the host's nodes a guest has its memory. Pure.

Owns: <memory> of <numatune>. May touch: the domain it is given, in place; the caller owns it alone.
Source: libvirt 9.0, qemuDomainSetNumaParameters, virDomainNumatuneSet; measured.
"""

from __future__ import annotations

from conf.domain.model import Domain
from conf.domain.tuning import NumaMemory, Numatune
from conf.errors import ConfError


def set_numa_memory(domain: Domain, mode: str | None, nodeset: str | None) -> None:
    """Set the mode, the nodes, or both; None leaves it as it is.

    Raises:
        ConfError: "config_unsupported": it has no nodes then.
    """
    if mode is None and nodeset is None:
        return
    tune = domain.numatune = domain.numatune or Numatune()
    memory = tune.memory = tune.memory or NumaMemory()
    memory.mode = mode or memory.mode or "strict"
    if nodeset is not None:
        memory.nodeset, memory.placement = nodeset, None
    if memory.placement != "auto" and not memory.nodeset:
        detail = "nodeset for NUMA memory tuning must be set if 'placement' is 'static'"
        raise ConfError("config_unsupported", detail)


def needs_advice(domain: Domain) -> bool:
    """Return whether numad is to say where a guest runs."""
    vcpus_are_placed = domain.vcpu is not None and domain.vcpu.placement == "auto"
    return vcpus_are_placed or needs_memory_advice(domain)


def needs_memory_advice(domain: Domain) -> bool:
    """Return whether numad is to say where a guest's memory is: on the command line, too."""
    memory = domain.numatune.memory if domain.numatune is not None else None
    return memory is not None and memory.placement == "auto"


def place(domain: Domain, nodes: str, cpus: str) -> None:
    """Place what has placement='auto' on the nodes that numad advised; it is not written as XML."""
    memory = domain.numatune.memory if domain.numatune is not None else None
    if memory is not None and memory.placement == "auto":
        memory.nodeset = nodes or None
    if domain.vcpu is not None and domain.vcpu.placement == "auto":
        domain.vcpu.cpuset = cpus or None


def check_running(domain: Domain, mode: str | None, nodeset: str | None) -> None:
    """Refuse a change that a running guest's memory does not follow.

    Only a restrictive guest has its memory where its threads' cpuset says; in the other modes QEMU
    has chosen once for all. One without <numatune> can be restricted as well.

    Raises:
        ConfError: "operation_invalid".
    """
    memory = domain.numatune.memory if domain.numatune is not None else None
    current = (memory.mode or "strict") if memory is not None else None
    if mode is not None and current is not None and mode != current:
        raise ConfError("operation_invalid", "can't change numatune mode for running domain")
    if nodeset is None or memory is None:
        return
    if mode == "strict":
        if nodeset != memory.nodeset:
            detail = "can't change nodeset for strict mode for running domain"
            raise ConfError("operation_invalid", detail)
    elif current != "restrictive":
        detail = "change of nodeset for running domain requires restrictive numa mode"
        raise ConfError("operation_invalid", detail)
