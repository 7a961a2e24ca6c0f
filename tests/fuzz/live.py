"""Random calls and documents to a running daemon: `python -m tests.fuzz.live ROOT [options]`.

Owns: its connections; the definitions that it makes, which it removes again.
The daemon must be one that may be harmed, in namespaces of its own: networks are started, pools are
made, its guests are changed. Calls that would suspend or reconfigure the host are left out.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from random import Random
from typing import Any, Final

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from rpc import framing, table
from rpc.framing import Frame, FrameDecoder, Header, MessageType, Status
from rpc.table import Procedure
from tests.fuzz import arguments
from tests.fuzz.mutations import changed, changes
from tests.fuzz.targets import SEEDS, device_documents, is_xml

REMOTE: Final = 0x20008086
BATCH: Final = 100
DAMAGED: Final = 0.002  # of the messages: their connection is closed mostly
PATIENCE_S: Final = 8.0  # for the replies to a batch: some calls wait for a guest
#: These would change the host itself, or end the connection that fuzzes.
LEFT_OUT: Final = (
    "node_suspend",
    "node_set_memory",
    "node_alloc_pages",
    "node_device_",
    "connect_close",
)
KEPT: Final = "fuzzed-network"
DOMAIN: Final = """<domain type='qemu'><name>fz</name><memory unit='MiB'>16</memory>
<uuid>10010203-0405-0607-0809-0a0b0c0d0e0f</uuid>
<os><type arch='x86_64' machine='pc'>hvm</type></os>
<devices><emulator>/usr/bin/qemu-system-x86_64</emulator></devices></domain>"""
SHARES: Final = (("qemu:///system", False), ("qemu:///system", True), ("lxc:///system", False))
UNFORESEEN: Final = ("Traceback", "unexpected exception", "failed inside rpcd", "background task")


class Client:
    """A connection without a library's manners."""

    def __init__(self, root: Path, uri: str = "qemu:///system", *, read_only: bool = False) -> None:
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(PATIENCE_S)
        self.socket.connect(f"{root}/run/libvirt/libvirt-sock{'-ro' if read_only else ''}")
        self._decoder = FrameDecoder()
        self._serial = 0
        try:
            self.call("connect_open", uri, int(read_only))
        except OSError:
            self.close()
            raise

    def close(self) -> None:
        """Disconnect."""
        self.socket.close()

    def message(self, procedure: Procedure, payload: bytes, kind: int = MessageType.CALL) -> bytes:
        """Encode a call; serials count up."""
        self._serial += 1
        number = Header(
            procedure.program, procedure.version, procedure.number, kind, self._serial, 0
        )
        return framing.encode(number, payload)

    def call(self, name: str, *values: object) -> Frame:
        """Make a call and wait for its reply."""
        procedure = table.load().named(name)
        self.socket.sendall(self.message(procedure, procedure.encode_args(values)))
        while True:
            for frame in self.receive():
                if frame.header.serial == self._serial and frame.header.type in (1, 5):
                    return frame

    def receive(self) -> list[Frame]:
        """Read what is there.

        Raises:
            ConnectionError: the daemon closed the connection.
        """
        data = self.socket.recv(1 << 16)
        if not data:
            raise ConnectionError
        return self._decoder.feed(data)


def is_ok(frame: Frame) -> bool:
    """Return whether a reply is no error."""
    return frame.header.status == Status.OK


def fuzz_calls(root: Path, count: int, seed: int, *, read_only: bool, uri: str) -> Counter[str]:
    """Send calls with random arguments, `BATCH` at a time."""
    random, tally = Random(seed), Counter[str]()
    while tally["sent"] < count:
        tally["connections"] += 1
        try:
            client = Client(root, uri, read_only=read_only)
        except OSError:
            continue
        try:
            known = known_values(client)
            while tally["sent"] < count:
                send_batch(client, random, known, tally)
        except (OSError, framing.FrameError):
            continue  # it was closed over a damaged message
        finally:
            client.close()
    return tally


def send_batch(
    client: Client, random: Random, known: dict[str, list[object]], tally: Counter[str]
) -> None:
    """Send a batch of calls and count the replies."""
    procedures = [call for call in arguments.calls() if not call.name.startswith(LEFT_OUT)]
    for _ in range(BATCH):
        procedure = random.choice(procedures)
        data = client.message(procedure, arguments.payload(procedure, random, known))
        if random.random() < DAMAGED:
            data = arguments.damaged(data, random)
        client.socket.sendall(data)
    tally["sent"] += BATCH
    missing, until = BATCH, time.monotonic() + PATIENCE_S
    while missing > 0 and time.monotonic() < until:
        for frame in client.receive():
            if frame.header.type in (1, 5):
                missing -= 1
                tally["refused" if frame.header.status == Status.ERROR else "answered"] += 1


def prepare(root: Path) -> None:
    """Make what the fuzzing needs: a domain, a pool with a volume, a network."""
    client = Client(root)
    (root / "pool").mkdir(exist_ok=True)
    client.call("domain_define_xml", DOMAIN)
    client.call("network_define_xml", f"<network><name>{KEPT}</name></network>")
    target = f"<target><path>{root}/pool</path></target>"
    pool = f"<pool type='dir'><name>pool</name>{target}</pool>"
    client.call("storage_pool_create_xml", pool, 0)
    volume = "<volume><name>vol</name><capacity>65536</capacity></volume>"
    client.call("storage_vol_create_xml", known_values(client)["storage_pool"][0], volume, 0)
    client.close()


def known_values(client: Client) -> dict[str, list[object]]:
    """Names of objects that the daemon has, for arguments that would else find nothing."""
    known: dict[str, list[object]] = {}
    for name, kind in (
        ("connect_list_all_domains", "domain"), ("connect_list_all_networks", "network"),
        ("connect_list_all_storage_pools", "storage_pool"), ("connect_list_all_secrets", "secret"),
        ("connect_list_all_nwfilters", "nwfilter"), ("connect_list_all_interfaces", "interface"),
    ):  # fmt: skip
        procedure = table.load().named(name)
        frame = client.call(name, 1, 0)
        if is_ok(frame):
            found = procedure.decode_ret(frame.payload)[0]
            if found:
                known[kind] = list(found)
    pools: list[Any] = known.get("storage_pool", [])
    if pools:
        volume = table.load().named("storage_vol_lookup_by_name")
        frame = client.call("storage_vol_lookup_by_name", pools[0], "vol")
        if is_ok(frame):
            known["storage_vol"] = [volume.decode_ret(frame.payload)]
    return known


def fuzz_documents(root: Path, count: int, seed: int, *, each: int = 40) -> Counter[str]:
    """Send changed documents through every call that takes one, `each` of them at a time."""
    tally = Counter[str]()
    clients = {uri: Client(root, uri) for uri in ("qemu:///system", "lxc:///system")}
    qemu = clients["qemu:///system"]
    known = known_values(qemu)
    domains: list[Any] = known["domain"]
    domain = next(item for item in domains if item.name == "fz")
    pool = known["storage_pool"][0]
    networks: list[Any] = known["network"]
    network = next(item for item in networks if item.name == KEPT)
    calls: list[tuple[str, str, tuple[object, ...], tuple[object, ...]]] = [
        ("domain", "domain_define_xml", (), ()),
        ("domain", "domain_define_xml_flags", (), (1,)),
        ("container", "domain_define_xml", (), ()),
        ("network", "network_define_xml", (), ()),
        ("pool", "storage_pool_define_xml", (), (0,)),
        ("volume", "storage_vol_create_xml", (pool,), (0,)),
        ("secret", "secret_define_xml", (), (0,)),
        ("filter", "nwfilter_define_xml", (), ()),
        ("binding", "nwfilter_binding_create_xml", (), (0,)),
        ("host-interface", "interface_define_xml", (), (0,)),
        ("device", "domain_attach_device_flags", (domain,), (2,)),
        ("device", "domain_update_device_flags", (domain,), (2,)),
        ("device", "domain_detach_device_flags", (domain,), (2,)),
        ("network-entry", "network_update", (network, 3, 4, -1), (2,)),
        ("cpu", "connect_compare_cpu", (), (0,)),
        ("domain", "connect_domain_xml_to_native", ("qemu-argv",), (0,)),
        ("snapshot", "domain_snapshot_create_xml", (domain,), (1,)),
        ("checkpoint", "domain_checkpoint_create_xml", (domain,), (1,)),
    ]
    while sum(tally.values()) < count:
        for place, (kind, name, before, after) in enumerate(calls):
            for document in random_documents(kind, seed + place, each):
                uri = "lxc:///system" if kind == "container" else "qemu:///system"
                try:
                    frame = clients[uri].call(name, *before, document, *after)
                    tally["accepted" if is_ok(frame) else "refused"] += 1
                except (OSError, table.EncodeError) as error:
                    tally[f"lost: {name}: {error!r}"[:80]] += 1
                    clients[uri].close()
                    clients[uri] = Client(root, uri)
        seed += len(calls)
        for client in clients.values():
            clean_up(client, {domain.name, "run", "pool", "default", KEPT})
    for client in clients.values():
        client.close()
    return tally


def random_documents(kind: str, seed: int, count: int) -> list[str]:
    """Make changed documents of a kind."""
    folder = {"checkpoint": "snapshot"}.get(kind, kind)
    if kind == "device":
        inputs = device_documents()
    else:
        texts = [path.read_text() for path in sorted((SEEDS / folder).glob("*.xml"))]
        if kind == "checkpoint":
            texts = [text.replace("domainsnapshot", "domaincheckpoint") for text in texts]
        valid = [text for text in texts if is_xml(text)]
        inputs = st.builds(changed, st.sampled_from(valid), changes()).map(str.encode)
    made: list[str] = []

    @settings(max_examples=count, phases=[Phase.generate], database=None, deadline=None,
              suppress_health_check=list(HealthCheck), derandomize=False)  # fmt: skip
    @given(inputs)
    def collect(data: bytes) -> None:
        made.append(data.decode(errors="replace"))

    collect._hypothesis_internal_use_seed = seed  # type: ignore[attr-defined]
    collect()
    return made


def clean_up(client: Client, kept: Iterable[str]) -> None:
    """Undefine what documents have defined."""
    names = set(kept)
    for listing, undefine, more in (
        ("connect_list_all_domains", "domain_undefine_flags", (23,)),
        ("connect_list_all_networks", "network_undefine", ()),
        ("connect_list_all_storage_pools", "storage_pool_undefine", ()),
        ("connect_list_all_secrets", "secret_undefine", ()),
        ("connect_list_all_nwfilters", "nwfilter_undefine", ()),
        ("connect_list_all_nwfilter_bindings", "nwfilter_binding_delete", ()),
    ):
        frame = client.call(listing, 1, 0)
        if is_ok(frame):
            for item in table.load().named(listing).decode_ret(frame.payload)[0]:
                if getattr(item, "name", "") not in names:
                    client.call(undefine, item, *more)


PROBES: Final = (
    ("domain_lookup_by_name", ("zz",)), ("network_lookup_by_name", ("zz",)),
    ("storage_pool_lookup_by_name", ("zz",)), ("node_get_info", ()),
)  # fmt: skip


def probe(root: str, stop: Any, result: Any) -> None:
    """Be another client: how long do its calls take."""
    waits: list[float] = []
    client = Client(Path(root))
    while not stop.is_set():
        for name, values in PROBES:
            began = time.monotonic()
            try:
                client.call(name, *values)
            except OSError:
                client.close()
                client = Client(Path(root))
            waits.append(time.monotonic() - began)
        time.sleep(0.02)
    waits.sort()
    result.put((len(waits), waits[len(waits) // 2], waits[int(len(waits) * 0.99)], waits[-1]))


def processes(root: Path) -> dict[str, tuple[int, int, float]]:
    """Each process: its number, its restarts, and the most memory that it had, in MiB."""
    program = Path(sys.executable).with_name("virtvisorctl")
    asked = [str(program), "--root", str(root), "status", "--json"]
    rows = json.loads(subprocess.run(asked, capture_output=True, text=True, check=True).stdout)
    return {row["name"]: (row["pid"], row["restarts"], peak_mib(row["pid"])) for row in rows}


def peak_mib(pid: int) -> float:
    """Read VmHWM."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM")), 0.0)


def unforeseen(log: Path, start: int = 0) -> list[str]:
    """List the lines of a daemon's log, after `start` bytes, that tell of a mistake of ours."""
    with log.open() as lines:
        lines.seek(start)
        return [line for line in lines if any(word in line for word in UNFORESEEN)]


def say(text: str) -> None:
    """Print at once."""
    print(text, flush=True)  # noqa: T201


def main() -> int:
    """Fuzz a daemon; the exit status is 1 if something went wrong."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("root", type=Path)
    parser.add_argument("--packets", type=int, default=100_000)
    parser.add_argument("--documents", type=int, default=2_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--log", type=Path)
    options = parser.parse_args()
    log = options.log or options.root / "daemon.log"
    prepare(options.root)
    seen, before = log.stat().st_size, processes(options.root)
    stop = multiprocessing.Event()
    result: Any = multiprocessing.Queue()
    other = multiprocessing.Process(target=probe, args=(str(options.root), stop, result))
    other.start()
    began = time.monotonic()
    documents = fuzz_documents(options.root, options.documents, options.seed)
    say(f"documents in {time.monotonic() - began:.0f} s: {dict(documents)}")
    for place, (uri, read_only) in enumerate(SHARES):
        began = time.monotonic()
        count = options.packets // len(SHARES)
        part = fuzz_calls(options.root, count, options.seed + place, read_only=read_only, uri=uri)
        say(f"packets to {uri} in {time.monotonic() - began:.0f} s: {dict(part)}")
    stop.set()
    count, *waits = result.get(timeout=120)
    other.join()
    median, late, longest = (wait * 1000 for wait in waits)
    say(f"other client: {count} calls, median {median:.1f}, 99 % {late:.1f}, most {longest:.0f} ms")
    after = processes(options.root)
    for name in sorted(before):
        say(f"  {name}: {before[name]} → {after.get(name)}")
    bad = unforeseen(log, seen)
    say("".join([f"{len(bad)} unforeseen errors\n", *bad[:20]]))
    died = [name for name in before if name in after and after[name][1] != before[name][1]]
    say(f"restarted: {died}")
    return int(bool(bad or died))


if __name__ == "__main__":
    sys.exit(main())
