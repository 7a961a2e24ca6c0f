"""A <cpu> on its own, as it goes between processes and into cookies. Pure.

Owns: which parts of it a start decides: mode, match, check, model, vendor and features.
"""

from __future__ import annotations

from dataclasses import replace

from conf.domain.cpu import Cpu
from conf.mapper import Mode, parse, write


def format_cpu(cpu: Cpu) -> str:
    """Write a <cpu>."""
    return write(cpu, Mode()).strip()


def format_model(cpu: Cpu) -> str:
    """Write model and features of a <cpu>, without topology, cells and cache."""
    return format_cpu(replace(cpu, topology=None, cache=None, maxphysaddr=None, numa=None))


def parse_cpu(xml: str) -> Cpu:
    """Read a <cpu>.

    Raises:
        ConfError: it is none.
    """
    return parse(Cpu, xml)


def with_model(cpu: Cpu, other: Cpu) -> Cpu:
    """Give a <cpu> mode, model and features of another one."""
    return replace(
        cpu,
        mode=other.mode,
        match=other.match,
        check=other.check,
        model=other.model,
        vendor=other.vendor,
        features=other.features,
    )


def is_same_model(cpu: Cpu, other: Cpu) -> bool:
    """Return whether two <cpu> have the same model and features, however they are checked."""
    return format_model(replace(cpu, check=None)) == format_model(replace(other, check=None))
