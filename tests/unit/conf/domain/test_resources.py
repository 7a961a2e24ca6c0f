"""A domain's resources are read, edited and formatted without its devices."""

from __future__ import annotations

from conf.domain import format_domain, parse_domain
from conf.domain.resources import (
    RESOURCES,
    copy_for_edit,
    read_resources,
)
from conf.domain.tuning import Cputune

XML = """<domain type='kvm'><name>x</name>
<memory unit='MiB'>64</memory><currentMemory unit='MiB'>32</currentMemory>
<vcpu current='2'>4</vcpu><vcpus><vcpu id='0' enabled='yes' hotpluggable='no'/></vcpus>
<memtune><hard_limit unit='KiB'>80000</hard_limit></memtune>
<blkiotune><weight>500</weight></blkiotune>
<cputune><shares>7</shares><vcpupin vcpu='0' cpuset='0'/></cputune>
<numatune><memory mode='strict' nodeset='0'/></numatune>
<os><type>hvm</type></os><devices><console type='pty'/></devices></domain>"""


def test_resources_are_those_of_the_whole_model() -> None:
    whole, resources = parse_domain(XML), read_resources(XML)
    for name in RESOURCES:
        assert getattr(resources, name) == getattr(whole, name), name
        assert getattr(resources, name), "the example has every one"
    assert resources.name == ""


def test_a_copy_for_an_edit_leaves_the_original_as_it_is() -> None:
    whole = parse_domain(XML)
    before = format_domain(whole)
    edited = copy_for_edit(whole, RESOURCES)
    assert edited.cputune is not None
    assert edited.blkiotune is not None
    edited.cputune.shares = 8
    edited.cputune.vcpupins.clear()
    edited.vcpus.clear()
    edited.blkiotune.weight = 1
    edited.memtune = None
    assert format_domain(whole) == before
    assert edited.devices is whole.devices


def test_a_list_that_is_empty_is_not_shared() -> None:
    whole = parse_domain("<domain type='kvm'><name>x</name><os><type>hvm</type></os></domain>")
    edited = copy_for_edit(whole, RESOURCES)
    edited.vcpus.extend(parse_domain(XML).vcpus)
    edited.cputune = Cputune(shares=1)
    assert whole.vcpus == []
    assert whole.cputune is None
