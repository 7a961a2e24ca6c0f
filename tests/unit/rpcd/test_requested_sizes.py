"""Sizes that clients ask for, against the limits of the protocol table."""

from __future__ import annotations

import pytest

from rpc import table as wire_table
from rpc.errors import ErrorCode, ErrorDomain, VirError
from supervisor.rpcd.requested_sizes import CPUMAP_LENGTH, checks_of

RPC, INTERNAL = ErrorCode.RPC, ErrorCode.INTERNAL_ERROR
VALUES = {"dom": None, "pool": None, "flags": 0, "disk": None, "path": "/x", "offset": 0}


def check(name: str, **sizes: int) -> None:
    procedure = wire_table.load().named(name)
    values = {**VALUES, "start_cpu": 0, "ncpus": 1, "cell_num": -1, "start_cell": 0, **sizes}
    arguments = tuple(values[field.name] for field in procedure.args)
    for refuse in checks_of(procedure):
        refuse(arguments)


@pytest.mark.parametrize(
    ("name", "sizes", "code", "message"),
    [
        ("connect_list_domains", {"maxids": -1}, RPC, "maxids must be non-negative"),
        ("connect_list_domains", {"maxids": 16385}, RPC, "maxids > REMOTE_DOMAIN_LIST_MAX"),
        ("connect_list_networks", {"maxnames": 16385}, RPC, "maxnames > REMOTE_NETWORK_LIST_MAX"),
        ("storage_pool_list_volumes", {"maxnames": 16385}, RPC, "REMOTE_STORAGE_VOL_LIST_MAX"),
        ("node_get_cells_free_memory", {"maxcells": 1025}, RPC, "REMOTE_NODE_MAX_CELLS"),
        ("domain_get_memory_parameters", {"nparams": 17}, INTERNAL, "nparams too large"),
        ("domain_get_memory_parameters", {"nparams": -1}, INTERNAL, "nparams must be non-neg"),
        ("node_get_memory_stats", {"nparams": 1 << 31}, INTERNAL, "nparams too large"),
        ("domain_get_cpu_stats", {"nparams": 1 << 31}, INTERNAL, "nparams too large"),
        ("domain_get_vcpus", {"maxinfo": 1, "maplen": -1}, INTERNAL, "maxinfo must be non-neg"),
        ("domain_get_vcpus", {"maxinfo": -1, "maplen": 1}, INTERNAL, "maxinfo must be non-neg"),
        ("domain_get_vcpus", {"maxinfo": 16385, "maplen": 0}, INTERNAL, "REMOTE_VCPUINFO_MAX"),
        ("domain_get_vcpus", {"maxinfo": 2, "maplen": 1 << 22 | 1}, INTERNAL, "CPUMAPS_MAX"),
        ("domain_get_vcpu_pin_info", {"ncpumaps": 16385, "maplen": 1}, INTERNAL, "ncpumaps > "),
        ("domain_get_emulator_pin_info", {"maplen": -1}, INTERNAL, "maplen must be non-neg"),
        ("domain_get_emulator_pin_info", {"maplen": 1 << 24}, INTERNAL, "CPUMAPS_MAX"),
        ("domain_block_peek", {"size": 1 << 24}, INTERNAL, "size > maximum buffer size"),
    ],
)
def test_a_size_beyond_the_protocol_is_refused(
    name: str, sizes: dict[str, int], code: ErrorCode, message: str
) -> None:
    with pytest.raises(VirError, match=message) as refused:
        check(name, **sizes)
    assert (refused.value.code, refused.value.domain) == (code, ErrorDomain.RPC)


@pytest.mark.parametrize(
    ("name", "sizes"),
    [
        ("connect_list_domains", {"maxids": 16384}),
        ("domain_get_memory_parameters", {"nparams": 16}),
        ("domain_get_vcpus", {"maxinfo": 2, "maplen": 1 << 22}),
        ("connect_get_lib_version", {}),
    ],
)
def test_a_size_within_the_protocol_is_taken(name: str, sizes: dict[str, int]) -> None:
    check(name, **sizes)


def test_every_cpumap_of_the_table_is_checked() -> None:
    for procedure in wire_table.load().procedures():
        if any(field.name == CPUMAP_LENGTH for field in procedure.args):
            assert checks_of(procedure), procedure.name


def test_the_number_that_clients_do_not_set_is_not_looked_at() -> None:
    assert checks_of(wire_table.load().named("node_get_sev_info")) == ()
