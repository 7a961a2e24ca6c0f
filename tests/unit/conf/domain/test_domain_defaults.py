"""What a domain gets that its document leaves open."""

from __future__ import annotations

import pytest

from conf.domain import Domain, format_domain, parse_domain
from conf.domain.architectures import check_architecture
from conf.domain.defaults import complete
from conf.emulator import EmulatorFacts
from conf.errors import ConfError

UUID = "6d6f2b2e-56a7-4ba4-8d6e-0e0f3b0d2f11"


def read(inside: str = "", *, kind: str = "qemu", os: str = "", vcpu: str = "") -> Domain:
    """A small domain's document, read."""
    return parse_domain(
        f"<domain type='{kind}'><name>small</name><memory unit='MiB'>64</memory>"
        f"<os><type arch='x86_64' machine='pc'>hvm</type>{os}</os>{vcpu}{inside}</domain>"
    )


def lines(domain: Domain) -> set[str]:
    """The document's lines without their indents."""
    return {line.strip() for line in format_domain(domain).splitlines()}


def test_a_bare_domain_is_filled_in_as_stock_does(emulator_facts: EmulatorFacts) -> None:
    domain = complete(read(), emulator_facts, make_uuid=lambda: UUID)
    canonical = emulator_facts.canonical_machine("pc")
    assert lines(domain) >= {
        f"<uuid>{UUID}</uuid>",
        "<memory unit='KiB'>65536</memory>",
        "<currentMemory unit='KiB'>65536</currentMemory>",
        "<vcpu placement='static'>1</vcpu>",
        f"<type arch='x86_64' machine='{canonical}'>hvm</type>",
        "<boot dev='hd'/>",
        "<cpu mode='custom' match='exact' check='none'>",
        "<model fallback='forbid'>qemu64</model>",
        "<clock offset='utc'/>",
        "<on_poweroff>destroy</on_poweroff>",
        "<on_reboot>restart</on_reboot>",
        "<on_crash>destroy</on_crash>",
        f"<emulator>{emulator_facts.binary}</emulator>",
    }


def test_completing_twice_changes_nothing(emulator_facts: EmulatorFacts) -> None:
    once = format_domain(complete(read(), emulator_facts))
    assert format_domain(complete(parse_domain(once), emulator_facts)) == once


@pytest.mark.parametrize(
    ("value", "completed"),
    [
        ("<cpu mode='maximum'/>", "<cpu mode='maximum' check='none' migratable='on'/>"),
        ("<cpu mode='host-model'/>", "<cpu mode='host-model' check='partial'/>"),
        ("<cpu><model>core2duo</model></cpu>", "<cpu mode='custom' match='exact' check='partial'>"),
        ("<clock offset='variable'/>", "<clock offset='variable' adjustment='0' basis='utc'/>"),
        ("<features><vmport/></features>", "<vmport state='on'/>"),
        ("<features><hyperv><vapic state='on'/></hyperv></features>", "<hyperv mode='custom'>"),
        ("<seclabel type='dynamic'/>", "<seclabel type='none' model='none'/>"),
        ("<seclabel type='none'/>", "<seclabel type='none' model='none'/>"),
        ("<seclabel type='dynamic' model='none'/>", "<seclabel type='none' model='none'/>"),
        ("<seclabel type='dynamic' model='dac'/>",
         "<seclabel type='dynamic' model='dac' relabel='yes'/>"),
        ("<seclabel type='static' model='dac'><label>1:1</label></seclabel>",
         "<seclabel type='static' model='dac' relabel='no'>"),
    ],
)  # fmt: skip
def test_open_values_are_settled(value: str, completed: str, kvm_facts: EmulatorFacts) -> None:
    assert completed in lines(complete(read(value, kind="kvm"), kvm_facts))


def test_a_label_without_a_type_says_nothing(emulator_facts: EmulatorFacts) -> None:
    assert not complete(read("<seclabel model='dac'/>"), emulator_facts).seclabels


@pytest.mark.parametrize(
    "label",
    [
        "<seclabel/>",
        "<seclabel relabel='no'/>",
        "<seclabel type='static'><label>x</label></seclabel>",
        "<seclabel type='dynamic'><baselabel>x</baselabel></seclabel>",
    ],
)
def test_a_label_of_no_model_is_refused(label: str, emulator_facts: EmulatorFacts) -> None:
    with pytest.raises(ConfError, match="missing security model in domain seclabel") as refusal:
        complete(read(label), emulator_facts)
    assert refusal.value.kind == "xml"


def test_an_empty_architecture_is_none(emulator_facts: EmulatorFacts) -> None:
    document = (
        "<domain type='qemu'><name>small</name><memory unit='MiB'>64</memory>"
        "<os><type arch='' machine=''>hvm</type></os></domain>"
    )
    domain = complete(parse_domain(document), emulator_facts)
    assert domain.os.type.arch == emulator_facts.arch


def test_an_automatic_placement_spreads_from_memory_to_vcpus(
    emulator_facts: EmulatorFacts,
) -> None:
    chosen = "<numatune><memory placement='auto'/></numatune>"
    domain = complete(read(chosen, vcpu="<vcpu>2</vcpu>"), emulator_facts)
    assert "<vcpu placement='auto'>2</vcpu>" in lines(domain)
    assert "<memory mode='strict' placement='auto'/>" in lines(domain)


def test_threads_that_are_only_counted_get_the_lowest_free_numbers(
    emulator_facts: EmulatorFacts,
) -> None:
    counted = "<iothreads>3</iothreads><iothreadids><iothread id='2'/></iothreadids>"
    domain = complete(read(counted), emulator_facts)
    assert [thread.id for thread in domain.iothread_ids] == [2, 1, 3]


def test_vcpus_that_are_not_mentioned_are_off(emulator_facts: EmulatorFacts) -> None:
    some = "<vcpu current='1'>3</vcpu><vcpus><vcpu id='0' enabled='yes'/></vcpus>"
    domain = complete(read(vcpu=some), emulator_facts)
    assert [(v.id, v.enabled, v.hotpluggable) for v in domain.vcpus] == [
        (0, True, False),
        (1, False, True),
        (2, False, True),
    ]


def test_an_emulator_of_another_architecture_is_refused(emulator_facts: EmulatorFacts) -> None:
    domain = read()
    domain.os.type.arch = "ppc64"
    with pytest.raises(ConfError, match="does not support arch 'ppc64'") as refused:
        complete(domain, emulator_facts)
    assert refused.value.kind == "config_unsupported"
    check_architecture("i686", emulator_facts)  # runs on the larger one's emulator


@pytest.mark.parametrize(
    ("model", "version"), [("tpm-tis", "1.2"), ("tpm-crb", "2.0"), (None, "1.2")]
)
def test_an_emulated_tpm_says_its_version(
    model: str | None, version: str, emulator_facts: EmulatorFacts
) -> None:
    named = f" model='{model}'" if model else ""
    for said, shown in (("", version), (" version='2.0'", "2.0")):
        tpm = f"<devices><tpm{named}><backend type='emulator'{said}/></tpm></devices>"
        completed = complete(read(tpm), emulator_facts)
        assert f"<backend type='emulator' version='{shown}'/>" in lines(completed)
    host = "<devices><tpm><backend type='passthrough'/></tpm></devices>"
    assert "<backend type='passthrough'>" in lines(complete(read(host), emulator_facts))
