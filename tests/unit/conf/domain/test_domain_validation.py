"""What is refused of a domain, and with which of libvirt's codes."""

from __future__ import annotations

import pytest

from conf.domain import parse_domain
from conf.domain.defaults import complete
from conf.emulator import EmulatorFacts
from conf.errors import ConfError

CELLS = "<cpu><numa><cell cpus='0' memory='32768'/><cell cpus='1' memory='32768'/></numa></cpu>"


def document(inside: str = "", *, os: str = "", name: str = "small", machine: str = "pc") -> str:
    """A small domain's document."""
    return (
        f"<domain type='qemu'><name>{name}</name><memory>65536</memory>"
        + ("" if "<vcpu" in inside else "<vcpu>4</vcpu>")
        + f"<os><type arch='x86_64' machine='{machine}'>hvm</type>{os}</os>{inside}</domain>"
    )


@pytest.mark.parametrize(
    ("xml", "kind", "message"),
    [
        (document(name=""), "no_name", "needs a <name>"),
        (document(name="a/b"), "xml", "name a/b cannot contain '/'"),
        (document(name="a\nb"), "xml_detail", "invalid char in name"),
        (document(name=".."), "xml", "is a folder's"),
        (document("<title>a\nb</title>"), "xml", "can't contain newlines"),
        (document("<uuid>nonsense</uuid>"), "internal", "malformed uuid"),
        (document().replace("'qemu'", "'foo'"), "config_unsupported", "invalid domain type foo"),
        (document().replace("'x86_64'", "'vax'"), "config_unsupported", "architecture vax"),
        (document().replace(" type='qemu'", ""), "internal", "missing domain type"),
        (document("<vcpu current='3'>2</vcpu>"), "config_unsupported", "less than current"),
        (document("<vcpu>-1</vcpu>"), "xml", "must be an integer"),
        (document("<vcpu>0</vcpu>"), "internal", "a guest needs a vcpu"),
        (document("<vcpu cpuset='a-b'>2</vcpu>"), "invalid_arg", "bitmap 'a-b'"),
        (document("<vcpu cpuset='1,^1'>2</vcpu>"), "config_unsupported", "of 'cpuset': 1,"),
        (document("<memory unit='kilos'>5</memory>").replace("<memory>65536</memory>", ""),
         "invalid_arg", "unknown suffix 'kilos'"),
        (document("<on_crash>explode</on_crash>"), "config_unsupported", "explode"),
        (document("<iothreads>65537</iothreads>"), "xml", "iothreads"),
        (document("<cputune><vcpusched scheduler='idle'/></cputune>"), "xml", "'vcpus'"),
        (document("<cputune><vcpupin cpuset='0'/></cputune>"), "xml", "'vcpu'"),
        (document("<cpu mode='bogus'/>"), "config_unsupported", "Invalid mode attribute 'bogus'"),
        (document("<cpu><numa/></cpu>"), "xml", "without NUMA cells"),
        (document("<cpu><cache mode='disable'/><cache mode='disable'/></cpu>"), "xml", "one CPU"),
        (document("<seclabel type='none'/><seclabel type='none' model='dac'/>"), "xml",
         "multiple labels"),
        (document("<seclabel type='none'/><seclabel type='none'/>"), "xml_detail",
         "model (null) is already provided"),
        (document("<seclabel type='none' relabel='yes'/>"), "config_unsupported",
         "not compatible with 'none' label type"),
        (document("<seclabel type='dynamic' model='dac' relabel='no'/>"), "config_unsupported",
         "must use resource relabeling"),
        # Of several mistakes, that in what libvirt reads first is named.
        (document("<clock offset='x'/>").replace("<type", "<kind").replace("/type>", "/kind>"),
         "xml", "an os <type> must be specified"),
        (document("<clock offset='x'/>").replace(">hvm<", ">rom<"), "config_unsupported",
         "unknown OS type 'rom'"),
        (document("<clock offset='x'/>").replace("x86_64", "z80"), "config_unsupported",
         "Unknown architecture z80"),
        (document("<clock offset='x'/>", name=""), "no_name", "needs a <name>"),
        (document("<resource/>"), "internal", "neither <partition> nor"),
        (document("<resource><partition>/a</partition></resource>" * 2), "xml",
         "only one resource element is supported"),
        (document("").replace("type='qemu'", "type=''"), "internal", "missing domain type"),
        (document("<currentMemory>18446744073709551616</currentMemory>"), "xml", "'currentMemory'"),
        (document("<vcpu>4294967296</vcpu>"), "xml", "must be an integer"),
        (document("<features><gic version='none'/></features>"), "xml", "'gic': 'none'"),
        (document("<features><hyperv><vapic/></hyperv></features>"), "xml", "'state'"),
        (document("<seclabel type='static' model='dac'/>"), "xml", "security label is missing"),
        (document("<cputune><vcpusched vcpus='0-1' scheduler='idle'/>"
                  "<vcpusched vcpus='1' scheduler='idle'/></cputune>"), "xml_detail", "overlap"),
        (document("<cputune><vcpusched vcpus='0' scheduler='rr'/></cputune>"), "xml", "priority"),
        (document("<numatune><memnode cellid='0' mode='strict' nodeset='0'/></numatune>"), "xml",
         "without any guest NUMA cells"),
        (document("<numatune><memnode cellid='7' mode='strict' nodeset='0'/></numatune>" + CELLS),
         "xml", "must correspond"),
        (document("<cpu><numa><cell id='1' cpus='0' memory='65536'/></numa></cpu>"), "xml",
         "non-contiguous"),
        (document("<vcpu>1</vcpu>" + CELLS), "internal", "exceeds the <vcpu> count"),
        (document(CELLS.replace("cpus='1'", "cpus='0'")), "config_unsupported",
         "overlapping vCPU ids"),
        (document(CELLS.replace("<cell ", "<cell id='0' ")), "xml", "Duplicate NUMA cell info"),
        (document("<clock offset='timezone'/>"), "internal", "timezone"),
    ],
)  # fmt: skip
def test_documents_that_contradict_themselves_are_refused_on_reading(
    xml: str, kind: str, message: str
) -> None:
    with pytest.raises(ConfError) as refused:
        parse_domain(xml)
    assert refused.value.kind == kind
    assert message in refused.value.message


UNSUPPORTED = "config_unsupported"


@pytest.mark.parametrize(
    ("xml", "kind", "message"),
    [
        (document().replace("'qemu'", "'xen'"), UNSUPPORTED, "virt type 'xen'"),
        (document().replace(">hvm<", ">exe<"), UNSUPPORTED, "os type 'exe'"),
        (document().replace("<memory>65536</memory>", ""), "xml", "Memory size must be specified"),
        (document("<vcpu>10000</vcpu>"), UNSUPPORTED, "machine type limit"),
        (document("<cpu><topology sockets='1' cores='1' threads='1'/></cpu>"), UNSUPPORTED,
         "CPU topology doesn't match"),
        (document("<vcpu>2</vcpu><vcpus><vcpu id='0' enabled='no'/></vcpus>"), UNSUPPORTED,
         "vcpu 0 can't be offline"),
        (document("<maxMemory slots='2'>131072</maxMemory>"), UNSUPPORTED, "numa node"),
        (document("<maxMemory>131072</maxMemory>" + CELLS), "xml", "both maximum memory"),
        (document("<maxMemory slots='1'>1</maxMemory>" + CELLS), "xml", "equal or greater"),
        (document("<iothreadids><iothread id='1'/><iothread id='1'/></iothreadids>"), "xml",
         "duplicate iothread"),
        (document("<cputune><iothreadpin iothread='3' cpuset='0'/></cputune>"), UNSUPPORTED,
         "Cannot find 'iothread' : 3"),
        (document("<cputune><cachetune vcpus='0'/></cputune>"), UNSUPPORTED, "for KVM domains"),
        (document("<cpu mode='host-passthrough'><cache level='3' mode='passthrough'/></cpu>"),
         UNSUPPORTED, "unsupported CPU cache level"),
        (document("<features><smm><tseg>1</tseg></smm></features>"), UNSUPPORTED, "q35"),
        (document("<features><htm state='on'/></features>"), UNSUPPORTED, "'htm' feature"),
        (document("<features><gic version='3'/></features>"), UNSUPPORTED, "'gic' feature"),
        (document("<features><hyperv><spinlocks state='on' retries='1'/></hyperv></features>"),
         "xml", "at least 4095"),
        (document("<clock><timer name='platform'/></clock>"), UNSUPPORTED, "'platform'"),
        (document("<clock><timer name='armvtimer'/></clock>"), UNSUPPORTED, "'armvtimer'"),
        (document("<launchSecurity type='s390-pv'/>"), UNSUPPORTED, "S390 PV"),
        (document(os="<loader stateless='no'>/bios.bin</loader>"), "xml_detail", "pflash"),
        (document(os="<loader readonly='yes' type='pflash'>/x</loader>"), UNSUPPORTED, "ACPI"),
    ],
)  # fmt: skip
def test_what_the_emulator_cannot_do_is_refused_on_completing(
    xml: str, kind: str, message: str, emulator_facts: EmulatorFacts
) -> None:
    domain = parse_domain(xml)
    with pytest.raises(ConfError) as refused:
        complete(domain, emulator_facts)
    assert refused.value.kind == kind
    assert message in refused.value.message
