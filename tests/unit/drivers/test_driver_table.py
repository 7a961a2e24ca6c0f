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
from supervisor.drivers.table import DriverTable
from supervisor.root.roles import WORKERS, service_roles
from supervisor.rpcd.router import services_of
from supervisor.rpcd.uri import select_driver
from supervisor.runtime.paths import Paths

BOX = """<domain type='lxc'><name>box</name><memory>1024</memory><vcpu>1</vcpu>
<os><type>exe</type><init>/init</init></os></domain>"""


def flags_error(flags: int, driver: Driver) -> VirError:
    with pytest.raises(VirError) as refused:
        driver.check_flags("DomainUndefineFlags", flags)
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
    assert LXC.worker_stats & DomainStatsTypes.CPU_TOTAL
    assert not QEMU.worker_stats & DomainStatsTypes.CPU_TOTAL


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


class TestDriverService:
    """The class of a third driver: all calls of its clients are answered by one process."""

    __test__ = False

    def connect_get_type(self) -> str:
        return THIRD.title


#: A third driver, shaped as libvirt's test driver: one row, and the class above.
THIRD = Driver(
    name="test",
    title="TEST",
    error_domain=ErrorDomain.TEST,
    system_paths=("/default",),
    session_paths=("/default",),
    features=frozenset({10, 14}),
    service="testd",
    service_entry="tests.unit.drivers.test_driver_table:TestDriverService",
    routes=dict.fromkeys(("domd", "worker", "hostd", "netd", "stord"), "testd"),
)
THREE = DriverTable(QEMU, LXC, THIRD)


def test_a_third_driver_is_opened_by_its_uri() -> None:
    for session in (False, True):
        target = select_driver("test:///default", session=session, drivers=THREE)
        assert (target.uri, target.driver) == ("test:///default", "test")
    with pytest.raises(VirError, match="Unexpected TEST URI path '/x', try test:///default"):
        select_driver("test:///x", session=False, drivers=THREE)
    assert select_driver("", session=False, drivers=THREE).driver == "qemu"


def test_a_third_driver_s_calls_go_to_its_process() -> None:
    assert {THIRD.process(owner) for owner in ("domd", "worker", "netd", "hostd")} == {"testd"}
    assert THIRD.process("rpcd") == "rpcd"
    linked = services_of(load(), THREE.of_daemon(session=False))
    assert linked == ("domd", "hostd", "lxcd", "netd", "stord", "testd")
    assert services_of(load(), THREE.of_daemon(session=True)) == (
        "domd", "hostd", "netd", "stord", "testd",
    )  # fmt: skip


def test_a_third_driver_s_process_is_started_and_has_no_workers() -> None:
    roles = {role.name: role for role in service_roles(THREE)}
    assert roles["testd"].entry == THIRD.service_entry
    assert list(roles)[:3] == ["domd", "lxcd", "testd"]
    assert THREE.worker_prefixes() == ("qemu:", "lxc:")
    assert THREE.of_service("testd") is THIRD


def test_a_third_driver_s_errors_name_it() -> None:
    with pytest.raises(VirError, match="function testDomainReboot") as refused:
        THIRD.check_flags("DomainReboot", 1)
    assert refused.value.domain is ErrorDomain.TEST


def test_every_worker_belongs_to_the_service_of_its_driver() -> None:
    assert {name: role.owner for name, role in WORKERS.items()} == {"qemu": "domd", "lxc": "lxcd"}
