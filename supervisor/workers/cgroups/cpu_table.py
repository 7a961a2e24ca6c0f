"""CPU times on the host's CPUs as the protocol lays them out. Pure.

Source: libvirt 9.0, virDomainGetCPUStats.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from rpc.errors import ErrorCode, ErrorDomain, VirError
from rpc.params import ULLong, params
from rpc.values import TypedParam
from supervisor.dispatch.service_errors import ServiceErrors


def cpu_table(
    times: Mapping[str, Sequence[int]], nparams: int, start: int, count: int, errors: ServiceErrors
) -> tuple[list[TypedParam], int]:
    """Lay out times in ns: the parameters of each CPU in turn.

    Args:
        times: on each CPU of the host, by parameter, "cpu_time" first; none: they are not counted.
        nparams: how many of the parameters; 0 asks for their number, or that of the CPUs.
        start: the first CPU.
        count: of CPUs; 0 with `nparams` 0 asks how many there are.
        errors: the driver's.

    Raises:
        VirError: INVALID_ARG: there is no such CPU; OPERATION_UNSUPPORTED: version 2 of cgroups
            does not count.
    """
    if nparams == 0 and count == 0:
        return [], len(times["cpu_time"]) if times else (os.cpu_count() or 1)
    if not times:
        detail = "operation 'getCpuacctPercpuUsage' not supported for backend 'cgroup V2'"
        raise VirError(ErrorCode.OPERATION_UNSUPPORTED, detail, ErrorDomain.CGROUP)
    cpus = len(times["cpu_time"])
    if not 0 <= start < cpus:
        raise errors.invalid_arg(f"start_cpu {start} larger than maximum of {cpus - 1}")
    if nparams == 0:
        return [], len(times)
    names = list(times)[:nparams]
    table: list[TypedParam] = []
    for cpu in range(start, min(start + max(count, 1), cpus)):
        table += params({name: ULLong(times[name][cpu]) for name in names})
    return table, len(names)
