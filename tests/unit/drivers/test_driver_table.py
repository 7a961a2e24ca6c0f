"""What makes one registry of domains QEMU's and another one that of containers."""

from __future__ import annotations

import asyncio

import pytest

from conf.errors import ConfError
from rpc.enums import DomainStatsTypes
from rpc.errors import ErrorCode, ErrorDomain, VirError
from rpc.table import load
from supervisor.domd.definition_builder import DefinitionBuilder, LxcCompletion
from supervisor.drivers.driver import Driver
from supervisor.drivers.lxc import LXC
from supervisor.drivers.qemu import QEMU
from supervisor.runtime.paths import Paths

BOX = """<domain type='lxc'><name>box</name><memory>1024</memory><vcpu>1</vcpu>
<os><type>exe</type><init>/init</init></os></domain>"""


def flags_error(flags: int, driver: Driver) -> VirError:
    with pytest.raises(VirError) as refused:
        driver.errors.check_flags("DomainUndefineFlags", flags, driver.undefine_flags)
    return refused.value


def test_errors_name_the_driver_that_raises_them() -> None:
    lxc = flags_error(4, LXC)
    assert (lxc.code, lxc.domain) == (ErrorCode.INVALID_ARG, ErrorDomain.LXC)
    assert lxc.detail == "unsupported flags (0x4) in function lxcDomainUndefineFlags"
    qemu = flags_error(0x8000, QEMU)
    assert qemu.domain is ErrorDomain.QEMU
    assert qemu.detail.endswith("function qemuDomainUndefineFlags")


def test_drivers_share_no_file_and_no_worker() -> None:
    qemu, lxc = (Paths.system().for_driver(driver.name) for driver in (QEMU, LXC))
    assert lxc.domain_config("x") != qemu.domain_config("x")
    assert lxc.status("x") != qemu.status("x")
    assert lxc.last_id_file() != qemu.last_id_file()
    assert lxc.autostart() != qemu.autostart()
    assert (QEMU.worker("x"), LXC.worker("x")) == ("qemu:x", "lxc:x")


def test_a_containers_time_is_its_workers_to_tell() -> None:
    assert LXC.sampled & DomainStatsTypes.CPU_TOTAL
    assert not QEMU.sampled & DomainStatsTypes.CPU_TOTAL


def test_a_containers_document_is_completed_without_an_emulator() -> None:
    documents = DefinitionBuilder(LxcCompletion("x86_64"))
    definition = asyncio.run(documents.build(BOX))
    assert definition.is_complete
    assert "<type arch='x86_64'>exe</type>" in definition.xml
    assert asyncio.run(documents.complete(definition)) is definition


@pytest.mark.parametrize(
    "wrong", [BOX.replace("lxc", "kvm"), BOX.replace("exe", "hvm"), "<domain type='lxc'/>", "<x"]
)
def test_what_is_no_container_is_refused(wrong: str) -> None:
    with pytest.raises(ConfError):
        asyncio.run(DefinitionBuilder(LxcCompletion("x86_64")).build(wrong))


def test_every_call_is_some_drivers() -> None:
    known = {driver.name for driver in (QEMU, LXC)}
    for procedure in load().procedures():
        assert procedure.drivers <= known
        assert procedure.owner is None or any(procedure.serves(name) for name in known)
