"""virNode calls: CPUs, memory, NUMA cells, SMBIOS.

Owns: one method per procedure, named as in the table.
May touch: /proc and /sys through `supervisor.hostd.node.node`. May not touch: QEMU, guests.
"""

from __future__ import annotations

import socket

from conf.types.size import KIB
from rpc.errors import ErrorCode, ErrorDomain, VirError
from rpc.params import typed
from rpc.values import NodeGetCpuStats, NodeGetMemoryStats, TypedParam
from supervisor.dispatch.dispatcher import ClientCall
from supervisor.dispatch.service_errors import HOST_ERRORS
from supervisor.drivers.driver import TYPED_STRINGS
from supervisor.hostd.node.cpu_changes import CpuChanges
from supervisor.hostd.node.node import KSM, Cell, Node
from supervisor.hostd.node.sysinfo import write_sysinfo
from supervisor.runtime.host import host_arch


class NodeCalls:
    """Reports the node; every value is read at the call, unless a change of it is noticed."""

    def __init__(self, node: Node, cpu_changes: CpuChanges) -> None:
        self._node = node
        self._cpu_changes = cpu_changes

    def connect_get_hostname(self, call: ClientCall) -> str:
        """Return the kernel's host name, without a DNS lookup."""
        return socket.gethostname()

    def node_get_info(self, call: ClientCall) -> tuple[bytes, int, int, int, int, int, int, int]:
        """Return architecture, memory in KiB, and the CPU topology (virNodeInfo)."""
        top = self._node.topology()
        memory = sum(cell.memory_kib for cell in self._node.cells())
        active = len(self._node.online())
        model = host_arch().encode()[:31].ljust(32, b"\0")
        shape = (top.cells, top.sockets, top.cores * top.dies, top.threads)
        return (model, memory, active, self._node.mhz(), *shape)

    def node_get_free_memory(self, call: ClientCall) -> int:
        """Return the host's free memory in bytes."""
        return self._node.memory()["free"] * KIB

    def node_get_cells_free_memory(
        self, call: ClientCall, start_cell: int, maxcells: int
    ) -> list[int]:
        """Return the free memory in bytes of the cells from `start_cell` on.

        Raises:
            VirError: INTERNAL_ERROR when there is no such cell.
        """
        cells = self._from_cell(start_cell)
        return [cell.free_kib * KIB for cell in cells[:maxcells]]

    def node_get_free_pages(
        self, call: ClientCall, pages: list[int], start_cell: int, cell_count: int, flags: int
    ) -> list[int]:
        """Return the free pages of each size (KiB) in each cell.

        Raises:
            VirError: INTERNAL_ERROR for a cell, OPERATION_FAILED for a size that is not there.
        """
        HOST_ERRORS.check_flags("nodeGetFreePages", flags)
        counts = []
        for cell in self._from_cell(start_cell)[:cell_count]:
            free = {page.size_kib: page.free for page in cell.pages}
            for size in pages:
                if size not in free:
                    detail = f"page size {size} is not available on node {cell.number}"
                    raise VirError(ErrorCode.OPERATION_FAILED, detail)
                counts.append(free[size])
        return counts

    def node_get_cpu_stats(
        self, call: ClientCall, cpu_num: int, nparams: int, flags: int
    ) -> tuple[list[NodeGetCpuStats], int]:
        """Return CPU times since boot in nanoseconds; -1 is the sum of all CPUs.

        Raises:
            VirError: INVALID_ARG when there is no such processor.
        """
        HOST_ERRORS.check_flags("nodeGetCPUStats", flags)
        try:
            times = self._node.cpu_times(None if cpu_num == -1 else cpu_num)
        except KeyError:
            detail = f"Invalid cpuNum in function: {cpu_num}; -1 means all"
            raise VirError(ErrorCode.INVALID_ARG, detail) from None
        rows = [NodeGetCpuStats(name, value) for name, value in times.items()]
        return rows[:nparams], len(rows)

    def node_get_memory_stats(
        self, call: ClientCall, nparams: int, cell_num: int, flags: int
    ) -> tuple[list[NodeGetMemoryStats], int]:
        """Return memory counters in KiB of a cell, or of the host for -1.

        Raises:
            VirError: INVALID_ARG when there is no such cell.
        """
        HOST_ERRORS.check_flags("nodeGetMemoryStats", flags)
        try:
            counters = self._node.memory(None if cell_num == -1 else cell_num)
        except KeyError:
            detail = f"cellNum {cell_num} does not exist; -1 means all"
            raise VirError(ErrorCode.INVALID_ARG, detail) from None
        rows = [NodeGetMemoryStats(name, value) for name, value in counters.items()]
        return rows[:nparams], len(rows)

    def node_get_memory_parameters(
        self, call: ClientCall, nparams: int, flags: int
    ) -> tuple[list[TypedParam], int]:
        """Return the settings and counters of KSM; for no parameters, how many there may be."""
        HOST_ERRORS.check_flags("virHostMemGetParameters", flags, TYPED_STRINGS)
        if nparams == 0:
            return [], len(KSM)
        values = {f"shm_{name}": value for name, value in self._node.shared_memory().items()}
        parameters = typed(values)[:nparams]
        return parameters, len(parameters)

    def node_get_sev_info(
        self, call: ClientCall, nparams: int, flags: int
    ) -> tuple[list[TypedParam], int]:
        """Refuse to describe AMD SEV: this daemon starts no encrypted guests.

        Raises:
            VirError: OPERATION_UNSUPPORTED.
        """
        raise HOST_ERRORS.operation_unsupported("QEMU does not support SEV guest")

    def node_get_cpu_map(
        self, call: ClientCall, need_map: int, need_online: int, flags: int
    ) -> tuple[bytes, int, int]:
        """Return the bitmap of online CPUs, their count, and the count of present CPUs."""
        HOST_ERRORS.check_flags("nodeGetCPUMap", flags)
        # Bindings ask for it before each pinning.
        call.cacheable = call.of_host = self._cpu_changes.is_watching
        present, online = self._node.present(), self._node.online()
        bits = bytearray((max(present, default=0) // 8 + 1) if need_map else 0)
        if need_map:
            for number in online:
                bits[number // 8] |= 1 << number % 8
        return bytes(bits), len(online) if need_online else 0, max(present, default=0) + 1

    def node_get_security_model(self, call: ClientCall) -> tuple[bytes, bytes]:
        """Return the security model: none."""
        return b"none\0", b"0\0"

    def connect_get_sysinfo(self, call: ClientCall, flags: int) -> str:
        """Return the host's SMBIOS tables as XML.

        Raises:
            VirError: CONFIG_UNSUPPORTED when the host has none.
        """
        HOST_ERRORS.check_flags("connectGetSysinfo", flags)
        text = write_sysinfo()
        if text is None:
            detail = "Host SMBIOS information is not available"
            raise VirError(ErrorCode.CONFIG_UNSUPPORTED, detail, ErrorDomain.QEMU)
        return text

    def _from_cell(self, start: int) -> list[Cell]:
        cells = self._node.cells()
        last = max(cell.number for cell in cells)
        if not 0 <= start <= last:
            detail = f"start cell {start} out of range (0-{last})"
            raise VirError(ErrorCode.INTERNAL_ERROR, detail)
        return [cell for cell in cells if cell.number >= start]
