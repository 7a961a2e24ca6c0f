"""A live XML that is formatted in parts is the same as one that is formatted whole."""

from __future__ import annotations

import dataclasses

import pytest

from conf.domain import (
    Domain,
    LiveDomainWriter,
    format_domain,
    parse_domain,
    reformat_domain,
)
from conf.domain.tuning import Cputune

XML = """<domain type='qemu' id='3'
 xmlns:qemu='http://libvirt.org/schemas/domain/qemu/1.0'><name>x</name>
<uuid>5d22f5b1-4a39-4b9c-8a67-6a4b3e0ed1c1</uuid><title>t</title><description>d</description>
<metadata><a:b xmlns:a='urn:a'>1</a:b></metadata><maxMemory slots='2' unit='MiB'>128</maxMemory>
<memory unit='MiB'>64</memory><currentMemory unit='MiB'>32</currentMemory>
<vcpu current='2'>4</vcpu><vcpus><vcpu id='0' enabled='yes' hotpluggable='no'/></vcpus>
<iothreads>1</iothreads><iothreadids><iothread id='1'/></iothreadids>
<memtune><hard_limit unit='KiB'>80000</hard_limit></memtune><memoryBacking><locked/></memoryBacking>
<blkiotune><weight>500</weight></blkiotune>
<cputune><shares>7</shares><vcpupin vcpu='0' cpuset='0'/></cputune>
<numatune><memory mode='strict' nodeset='0'/></numatune>
<resource><partition>/a</partition></resource>
<os><type>hvm</type></os><features><acpi/></features><cpu mode='host-model'/><clock offset='utc'/>
<on_poweroff>destroy</on_poweroff><on_reboot>restart</on_reboot><on_crash>destroy</on_crash>
<pm><suspend-to-mem enabled='no'/></pm><perf><event name='cmt' enabled='yes'/></perf>
<devices><console type='pty'/><graphics type='vnc' passwd='secret'/></devices>
<qemu:commandline><qemu:arg value='-x'/></qemu:commandline></domain>"""
FIELDS = [place.name for place in dataclasses.fields(Domain) if place.name not in ("os", "devices")]


def whole(domain: Domain) -> str:
    return format_domain(domain, live=True, secure=True)


@pytest.mark.parametrize("name", FIELDS)
def test_a_field_that_has_changed_is_formatted_and_the_rest_is_as_before(name: str) -> None:
    full = parse_domain(XML)
    empty = Domain(os=full.os, devices=full.devices)
    writer = LiveDomainWriter(full)
    assert writer.format() == whole(parse_domain(XML))
    value = getattr(full, name)
    setattr(full, name, getattr(empty, name))
    assert writer.format({name}) == whole(full)
    setattr(full, name, value)
    assert writer.format({name, "title"}) == whole(parse_domain(XML))


def test_only_the_named_fields_are_formatted_anew() -> None:
    domain, tuned = parse_domain(XML), parse_domain(XML)
    writer = LiveDomainWriter(domain)
    writer.format()
    domain.title = "other"
    domain.cputune = tuned.cputune = Cputune(shares=8)
    assert writer.format({"cputune"}) == whole(tuned)
    assert writer.format() == whole(domain)


def test_the_first_text_is_whole_whatever_has_changed() -> None:
    domain = parse_domain(XML)
    assert LiveDomainWriter(domain).format({"cputune"}) == whole(domain)


@pytest.mark.parametrize("name", FIELDS)
def test_an_edited_definition_is_the_same_as_one_that_is_formatted_whole(name: str) -> None:
    first, edited = parse_domain(XML), parse_domain(XML)
    text, parts = reformat_domain(first, (), frozenset())
    assert text == format_domain(first, secure=True)
    setattr(edited, name, getattr(Domain(os=first.os, devices=first.devices), name))
    again, others = reformat_domain(edited, parts, {name})
    assert again == format_domain(edited, secure=True)
    # The parts of the first are as before: the edit may be refused.
    assert reformat_domain(first, parts, frozenset()) == (text, parts)
    assert reformat_domain(first, others, {name}) == (text, parts)
