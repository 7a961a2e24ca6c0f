"""Capabilities for clients of lxc:///."""

from __future__ import annotations

import pytest
from lxml import etree

from rpc.errors import ErrorCode, VirError
from supervisor.hostd.capabilities.host import HostPlatform
from supervisor.hostd.capabilities.lxc import (
    ContainerHost,
    kernel_version,
    write_capabilities,
    write_domain_capabilities,
)

AROUND = HostPlatform(cells=(), caches=(), suspend=("suspend_mem",), iommu=True)


def test_a_host_of_two_word_sizes_runs_containers_of_both() -> None:
    document = etree.fromstring(write_capabilities(ContainerHost("the-uuid", "x86_64", AROUND)))
    assert document.xpath("//guest/os_type/text()") == ["exe", "exe"]
    assert document.xpath("//guest/arch/@name") == ["x86_64", "i686"]
    assert document.xpath("//guest/arch/wordsize/text()") == ["64", "32"]
    assert document.xpath("//guest/arch/domain/@type") == ["lxc", "lxc"]
    assert document.xpath("string(//guest/arch/emulator)") == "/usr/lib/libvirt/libvirt_lxc"
    host = document.find("host")
    assert host is not None
    assert [child.tag for child in host] == [
        *("uuid", "cpu", "power_management", "iommu", "topology", "secmodel")
    ]
    assert document.xpath("normalize-space(host/cpu)") == "x86_64"


def test_a_host_of_one_word_size_runs_its_own_alone() -> None:
    text = write_capabilities(ContainerHost("the-uuid", "aarch64", AROUND))
    assert etree.fromstring(text).xpath("//guest/arch/@name") == ["aarch64"]


def test_choices_are_those_of_the_architecture_that_was_asked_for() -> None:
    text = write_domain_capabilities("x86_64", emulator=None, arch="i686", virt_type="lxc")
    document = etree.fromstring(text)
    assert (document.findtext("domain"), document.findtext("arch")) == ("lxc", "i686")
    assert document.xpath("//hostdev/enum[@name='capsType']/value/text()") == [
        *("storage", "misc", "net")
    ]


@pytest.mark.parametrize(
    ("emulator", "arch", "virt_type"),
    [("/usr/bin/qemu", None, None), (None, "s390x", None), (None, None, "kvm")],
)
def test_elements_that_no_container_has_are_refused(
    emulator: str | None, arch: str | None, virt_type: str | None
) -> None:
    with pytest.raises(VirError, match="unsupported ") as refused:
        write_domain_capabilities("x86_64", emulator=emulator, arch=arch, virt_type=virt_type)
    assert refused.value.code is ErrorCode.INVALID_ARG


@pytest.mark.parametrize(
    ("release", "version"),
    [
        ("6.1.0-18-amd64", 6_001_000),
        ("5.15.153", 5_015_153),
        ("6.12-rc1", 6_012_000),
        ("7", 7_000_000),
    ],
)
def test_a_kernels_release_is_the_drivers_version(release: str, version: int) -> None:
    assert kernel_version(release) == version


def test_a_release_without_a_number_is_refused() -> None:
    with pytest.raises(VirError, match="Unknown release"):
        kernel_version("generic")
