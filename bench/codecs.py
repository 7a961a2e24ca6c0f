"""What the codecs cost: loading the table, and microseconds for common calls.

Run it with `.venv/bin/python bench/codecs.py`. Each figure is the best of several rounds: the
machines are noisy, and what disturbs a round only makes it longer.
"""

from __future__ import annotations

import subprocess
import sys
import time
import timeit
from collections.abc import Callable
from typing import Any

from rpc.framing import FrameDecoder, Header, encode
from rpc.params import typed
from rpc.table import ProtocolTable, load
from rpc.values import Domain, DomainStatsRecord

ROUNDS = 7
DOM = Domain("demo", bytes(range(16)), 7)
STATS = typed(
    {"state.state": 1, "state.reason": 1, "cpu.time": 10**12, "cpu.user": 10**9, "block.count": 4}
    | {f"block.{disk}.{name}": 10**9 for disk in range(4) for name in ("rd.bytes", "wr.bytes")}
    | {f"block.{disk}.name": "vda" for disk in range(4)}
    | {f"net.{nic}.{name}": 10**6 for nic in range(2) for name in ("rx.bytes", "tx.bytes")}
)
FRESH = "import time; a = time.perf_counter(); from rpc import table; b = time.perf_counter();" \
    " table.load(); print(b - a, time.perf_counter() - b)"  # fmt: skip

RESULTS: dict[str, Any] = {
    "domain_lookup_by_name": DOM,
    "domain_get_info": (1, 2**20, 2**20, 2, 10**12),
    "domain_get_xml_desc": "<domain/>" * 600,
    "connect_list_all_domains": ([DOM] * 500, 500),
    "connect_get_all_domain_stats": [DomainStatsRecord(DOM, STATS)] * 10,
}
ARGUMENTS: dict[str, tuple[Any, ...]] = {
    "domain_lookup_by_name": ("demo",),
    "domain_get_info": (DOM,),
    "domain_get_xml_desc": (DOM, 0),
    "connect_list_all_domains": (1, 0),
    "connect_get_all_domain_stats": ([], 0, 0),
}


def microseconds(work: Callable[[], object]) -> float:
    """The time of one run of the work."""
    timer = timeit.Timer(work)
    count, _ = timer.autorange()
    count = max(1, count // 10)
    return min(timer.repeat(ROUNDS, count)) / count * 1e6


def report_loading(table: ProtocolTable) -> None:
    """How long a new process needs until its first call."""
    result = subprocess.run(
        [sys.executable, "-c", FRESH], capture_output=True, check=True, text=True
    )
    imports, loading = (float(seconds) * 1e3 for seconds in result.stdout.split())
    start = time.perf_counter()
    for procedure in table.procedures():
        if procedure.owner is not None:
            procedure.compile()
    prepared = (time.perf_counter() - start) * 1e3
    print(f"in a new process: import {imports:.1f} ms, load {loading:.1f} ms")
    print(f"compile the codecs of all that works: {prepared:.1f} ms")


def report_calls(table: ProtocolTable) -> None:
    """What rpcd and an owner do with bytes, a call at a time."""
    print(f"\n{'µs':34}{'decode args':>12}{'encode ret':>12}{'(decode ret)':>14}{'bytes':>8}")
    for name, result in RESULTS.items():
        procedure = table.named(name)
        arguments = procedure.encode_args(ARGUMENTS[name])
        answer = procedure.encode_ret(result)
        times = (
            microseconds(lambda p=procedure, a=arguments: p.decode_args(a)),  # type: ignore[misc]
            microseconds(lambda p=procedure, r=result: p.encode_ret(r)),  # type: ignore[misc]
            microseconds(lambda p=procedure, a=answer: p.decode_ret(a)),  # type: ignore[misc]
        )
        print(f"{name:34}{times[0]:12.2f}{times[1]:12.2f}{times[2]:14.2f}{len(answer):8}")


def report_frames() -> None:
    """What a message around a payload costs."""
    header = Header(0x20008086, 1, 16, 0, 1, 0)
    message = encode(header, bytes(40))
    decoder = FrameDecoder()
    print(f"\nframe: make {microseconds(lambda: encode(header, bytes(40))):.2f} µs,", end=" ")
    print(f"take apart {microseconds(lambda: decoder.feed(message)):.2f} µs")


if __name__ == "__main__":
    protocol = load()
    report_loading(protocol)
    report_calls(protocol)
    report_frames()
