"""Changes of the node's memory: KSM's settings, pools of huge pages.

Owns: one method per procedure, named as in the table.
May touch: /sys through `supervisor.hostd.node.node`. May not touch: QEMU, guests.
Source: libvirt 9.0, virHostMemSetParameters, virHostMemAllocPages, virNumaSetPagePoolSize.
"""

from __future__ import annotations

import asyncio
import resource
from typing import Final

from conf.types.size import KIB
from rpc.enums import NodeAllocPagesFlags
from rpc.errors import ErrorCode, ErrorDomain, VirError
from rpc.params import declared, read_params
from rpc.values import TypedParam
from supervisor.dispatch.dispatcher import ClientCall
from supervisor.dispatch.service_errors import HOST_ERRORS
from supervisor.drivers.table import DRIVERS
from supervisor.hostd.node.node import Node

SETTINGS: Final = ("shm_pages_to_scan", "shm_sleep_millisecs", "shm_merge_across_nodes")
WHOLE_HOST: Final = -1  # instead of a cell
MAX_WRITES: Final = 4096  # pools that one call may change


class NodeMemoryCalls:
    """The calls."""

    def __init__(self, node: Node) -> None:
        self._node = node

    def node_set_memory_parameters(
        self, call: ClientCall, params: list[TypedParam], flags: int
    ) -> None:
        """Set KSM's settings; either all are known to this kernel, or none is set.

        Raises:
            VirError: ARGUMENT_UNSUPPORTED, INVALID_ARG: other parameters; OPERATION_INVALID: the
                kernel lacks one; SYSTEM_ERROR: it refuses a value.
        """
        HOST_ERRORS.check_flags("virHostMemSetParameters", flags)
        values = read_params(params, declared(*SETTINGS))
        present = self._node.shared_memory()
        for field in values:
            if field.removeprefix("shm_") not in present:
                detail = f"Parameter '{field}' is not supported by this kernel"
                raise HOST_ERRORS.operation_invalid(detail)
        for field, given in values.items():
            try:
                self._node.set_shared_memory(field.removeprefix("shm_"), int(given[-1]))
            except OSError as error:
                raise HOST_ERRORS.system_error(f"failed to set {field}", error) from error

    async def node_alloc_pages(
        self,
        call: ClientCall,
        page_sizes: list[int],
        page_counts: list[int],
        start_cell: int,
        cell_count: int,
        flags: int,
    ) -> int:
        """Add huge pages to the pools of some cells, or with SET make them that large.

        Args:
            call: the client's.
            page_sizes: in KiB.
            page_counts: of each size.
            start_cell: the first cell; -1 for the whole host.
            cell_count: of cells.
            flags: virNodeAllocPagesFlags.

        Returns:
            How many pools were handled.

        Raises:
            VirError: INTERNAL_ERROR: no such cell; OPERATION_UNSUPPORTED: the size of a normal
                page; OPERATION_FAILED: no such size, or the host has no room for all.
        """
        DRIVERS[call.client.driver].errors.check_flags(
            "NodeAllocPages", flags, NodeAllocPagesFlags.SET
        )
        last = max(cell.number for cell in self._node.cells())
        if start_cell > last or start_cell < WHOLE_HOST:
            detail = f"start cell {start_cell} out of range (0-{last})"
            raise VirError(ErrorCode.INTERNAL_ERROR, detail)
        cells = range(start_cell, min(last, start_cell + cell_count - 1) + 1)
        wanted = [
            (cell, size, count)
            for cell in cells
            for size, count in zip(page_sizes, page_counts, strict=False)
        ]
        if len(wanted) > MAX_WRITES:
            raise HOST_ERRORS.invalid_arg(f"{len(wanted)} pools are too many for one call")
        add = not flags & NodeAllocPagesFlags.SET
        for cell, size, count in wanted:
            # The kernel moves memory out of the way for as long as that takes.
            await asyncio.to_thread(self._resize_pool, cell, size, count, add=add)
        return len(wanted)

    def _resize_pool(self, cell: int, size_kib: int, count: int, *, add: bool) -> None:
        if size_kib == resource.getpagesize() // KIB:
            detail = "system pages pool can't be modified"
            raise HOST_ERRORS.operation_unsupported(detail)
        try:
            present = self._node.page_pool(cell, size_kib)
        except FileNotFoundError:
            place = "" if cell == WHOLE_HOST else f" on node {cell}"
            detail = f"page size {size_kib} is not available{place}"
            raise HOST_ERRORS.operation_failed(detail) from None
        wanted = present + count if add else count
        if wanted == present:
            return
        try:
            self._node.set_page_pool(cell, size_kib, wanted)
            got = self._node.page_pool(cell, size_kib)
        except OSError as error:
            detail = f"unable to set the pool of {size_kib} KiB pages"
            raise HOST_ERRORS.system_error(detail, error) from error
        if got != wanted:
            detail = f"Unable to allocate {wanted} pages. Allocated only {got}"
            raise VirError(ErrorCode.OPERATION_FAILED, detail, ErrorDomain.NONE)
