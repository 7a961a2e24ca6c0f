"""-incoming: where a QEMU that restores or receives a guest waits for its state."""

from __future__ import annotations

from conf.domain import parse_domain
from supervisor.workers.qemu.argv.launch_inputs import Context, LaunchInputs
from supervisor.workers.qemu.argv.machine import incoming

DOMAIN = parse_domain(
    "<domain type='qemu'><name>a</name><memory>1</memory><os><type>hvm</type></os></domain>"
)


def options(value: str) -> list[tuple[str, ...]]:
    runtime = LaunchInputs(id=1, domain_dir="/d", channel_dir="/c", memory_dir="/m", incoming=value)
    return list(incoming(Context(DOMAIN, None, runtime)))  # type: ignore[arg-type]


def test_a_fresh_boot_has_no_incoming_option() -> None:
    assert options("") == []


def test_state_that_comes_later_is_deferred() -> None:
    assert options("defer") == [("-incoming", "defer")]
