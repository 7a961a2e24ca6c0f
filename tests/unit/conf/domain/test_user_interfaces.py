"""<portForward> and <backend> of user interfaces, which are passt's in libvirt 9.0."""

from __future__ import annotations

import pytest

from conf.domain import Domain, parse_domain
from conf.domain.defaults import complete
from conf.emulator import EmulatorFacts
from conf.errors import ConfError
from supervisor.workers.qemu.start.unsupported import check_supported
from tests.unit.conf.domain.test_dropped_parts import written

FORWARD = (
    "<portForward proto='tcp' address='192.0.2.1' dev='eth0'>"
    "<range start='20' end='30' to='40'/><range end='5'/><range start='7' exclude='yes'/>"
    "</portForward>"
)


def interface(inside: str) -> str:
    return f"<interface type='user'><mac address='52:54:00:00:00:01'/>{inside}</interface>"


def test_forwarded_ports_come_out_as_they_went_in(emulator_facts: EmulatorFacts) -> None:
    text = written(
        emulator_facts,
        devices=interface(f"<source dev='eth0'/>{FORWARD}<backend logFile='/l' upstream='x'/>"),
    )
    assert "<range start='20' end='30' to='40'/>" in text
    assert "<range start='7' exclude='yes'/>" in text
    assert text.count("<range") == 2  # a range without a start is none
    assert "<backend logFile='/l'/>" in text
    assert "<source dev" not in text


@pytest.mark.parametrize(
    ("inside", "words"),
    [
        (FORWARD.replace("tcp", "sctp"), "'proto' in element 'portForward': 'sctp'"),
        (FORWARD.replace(" proto='tcp'", ""), "'proto' in element 'portForward'"),
        (FORWARD.replace("192.0.2.1", "here"), "Invalid address 'here' in <portForward>"),
        (FORWARD.replace("'20'", "'0'"), "'start' in element 'range'"),
        (FORWARD.replace("'yes'", "'perhaps'"), "'exclude' in element 'range'"),
        ("<backend type='passt'/>", "'type' in element 'backend': 'passt'"),
    ],
)
def test_what_stock_refuses_is_refused(inside: str, words: str) -> None:
    with pytest.raises(ConfError, match=words) as refusal:
        parse_domain(document(interface(inside)))
    assert refusal.value.kind == "xml"


def test_ports_that_nothing_forwards_keep_no_guest_from_starting(
    emulator_facts: EmulatorFacts,
) -> None:
    domain: Domain = complete(parse_domain(document(interface(FORWARD))), emulator_facts)
    check_supported(domain)


def document(device: str) -> str:
    return (
        "<domain type='qemu'><name>d</name><memory unit='MiB'>64</memory>"
        f"<os><type arch='x86_64' machine='pc'>hvm</type></os><devices>{device}</devices></domain>"
    )
