"""Stock virsh and libvirt-python on the jobs of a domain: a running one without, and one off."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.clients.daemon import Daemon
from tests.clients.domains import idle
from tests.clients.libvirt_binding import libvirt


@pytest.fixture
def domain(daemon: Daemon) -> Iterator[Any]:
    """A running domain called "web"."""
    connection = libvirt.open(daemon.uri)
    domain = connection.defineXML(idle("web"))
    domain.create()
    yield domain
    if domain.isActive():
        domain.destroy()
    domain.undefine()
    connection.close()


def test_virsh_shows_no_job_of_a_running_domain(daemon: Daemon, domain: Any) -> None:
    shown = daemon.virsh("domjobinfo", "web")
    assert shown.returncode == 0, shown.stderr
    assert shown.stdout.split() == ["Job", "type:", "None"]
    assert domain.jobStats() == {"type": libvirt.VIR_DOMAIN_JOB_NONE}
    assert domain.jobStats(libvirt.VIR_DOMAIN_JOB_STATS_COMPLETED)["type"] == 0


def test_virsh_aborts_no_job_that_is_none(daemon: Daemon, domain: Any) -> None:
    aborted = daemon.virsh("domjobabort", "web")
    assert aborted.returncode == 1
    assert "no job is active on the domain" in aborted.stderr
    with pytest.raises(libvirt.libvirtError) as refused:
        domain.abortJob()
    assert refused.value.get_error_code() == libvirt.VIR_ERR_OPERATION_INVALID


def test_a_domain_that_is_off_is_not_asked_for_jobs(daemon: Daemon, domain: Any) -> None:
    domain.destroy()
    for ask in (domain.jobInfo, domain.jobStats, domain.abortJob):
        with pytest.raises(libvirt.libvirtError, match="domain is not running") as refused:
            ask()
        assert refused.value.get_error_code() == libvirt.VIR_ERR_OPERATION_INVALID
