"""Words of containers' documents that become names, paths and groups on the host."""

from __future__ import annotations

from typing import Final
from xml.sax.saxutils import quoteattr

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conf.domain import Domain, parse_domain
from conf.domain.lxc.defaults import complete_container
from conf.domain.lxc.startable import check_startable
from conf.errors import ConfError
from supervisor.workers.cgroups.containers import group_name
from supervisor.workers.lxc.config import HostFacts, LxcInterface, plan_config

NAMESPACE: Final = "http://libvirt.org/schemas/domain/lxc/1.0"


def container(inside: str = "", devices: str = "") -> Domain:
    document = (
        f"<domain type='lxc' xmlns:lxc='{NAMESPACE}'><name>c</name><memory>65536</memory>"
        f"<os><type>exe</type><init>/bin/sh</init></os>{inside}<devices>{devices}</devices></domain>"
    )
    domain = complete_container(parse_domain(document), "x86_64")
    check_startable(domain)
    return domain


@pytest.mark.parametrize(
    ("inside", "text"),
    [
        ("<resource><partition>machine</partition></resource>", "must start with '/'"),
        ("<resource><partition>/../../x</partition></resource>", "name of a cgroup"),
        ("<resource><partition>/a\nlxc.hook.start = /x</partition></resource>", "of a cgroup"),
        ("<seclabel type='dynamic' model='selinux'/>", "security driver for model selinux"),
        ("<features><capabilities><no_such state='off'/></capabilities></features>", "'no_such'"),
    ],
)
def test_an_unknown_partition_label_or_capability_is_refused(inside: str, text: str) -> None:
    with pytest.raises(ConfError, match=text) as refusal:
        container(inside)
    assert refusal.value.kind == "config_unsupported"


@pytest.mark.parametrize(
    ("device", "text"),
    [
        ("<hostdev mode='subsystem' type='pci'><source><address domain='0' bus='1' slot='2'"
         " function='0'/></source></hostdev>", "Unsupported host device type pci"),
        ("<hostdev mode='capabilities' type='storage'><source><block>sda</block></source>"
         "</hostdev>", "absolute path"),
        ("<hostdev mode='capabilities' type='misc'><source><char>/dev/../etc/shadow</char>"
         "</source></hostdev>", "does not go up"),
        ("<hostdev mode='capabilities' type='net'><source><interface>a/b</interface></source>"
         "</hostdev>", "network device"),
        ("<disk type='block'><source dev='/dev/sda'/><target dev='../sda'/></disk>", "a node in"),
        ("<interface type='bridge'><source bridge='b'/><guest dev='much_too_long_name'/>"
         "</interface>", "network device"),
        ("<interface type='bridge'><source bridge='b'/>"
         "<ip address='192.0.2.1' peer='192.0.2.2'/></interface>", "peer"),
        ("<filesystem type='file'><driver type='loop' format='qcow2'/><source file='/i'/>"
         "<target dir='/t'/></filesystem>", "fs format qcow2"),
    ],
)  # fmt: skip
def test_a_device_without_effect_is_refused(device: str, text: str) -> None:
    with pytest.raises(ConfError, match=text) as refusal:
        container(devices=device)
    assert refusal.value.kind == "config_unsupported"


@pytest.mark.parametrize("value", ["../x", "..", "."])
@pytest.mark.parametrize("kind", ["name", "netns", "pid"])
def test_a_shared_namespace_is_found_by_a_plain_name(kind: str, value: str) -> None:
    shared = f"<lxc:namespace><lxc:sharenet type='{kind}' value='{value}'/></lxc:namespace>"
    with pytest.raises(ConfError) as refusal:
        container(shared)
    assert refusal.value.kind == "invalid_arg"


def test_values_that_stock_libvirt_accepts_are_accepted() -> None:
    domain = container(
        "<resource><partition>/machine/web</partition></resource><seclabel type='none'/>"
        "<lxc:namespace><lxc:sharenet type='netns' value='red'/></lxc:namespace>",
        "<hostdev mode='capabilities' type='misc'><source><char>/dev/input/event3</char></source>"
        "</hostdev><hostdev mode='capabilities' type='net'><source><interface>eth0.5</interface>"
        "</source></hostdev><disk type='block'><source dev='/dev/disk/by-id/x:y'/>"
        "<target dev='sda'/></disk>",
    )
    assert domain.partition == "/machine/web"
    assert len(domain.devices.hostdevs) == 2


#: Parts of documents with a place for a word of anyone's choice.
PLACES: Final = (
    ("<resource><partition>{text}</partition></resource>", ""),
    ("<vcpu cpuset={word}>1</vcpu>", ""),
    ("<numatune><memory mode='strict' nodeset={word}/></numatune>", ""),
    ("", "<filesystem><source dir={word}/><target dir='/'/></filesystem>"),
    ("", "<filesystem><source dir='/a'/><target dir={word}/></filesystem>"),
    ("", "<filesystem type='bind'><source dir={word}/><target dir='/b'/></filesystem>"),
    ("", "<interface type='bridge'><source bridge='b'/><guest dev={word}/></interface>"),
    ("", "<interface type='bridge'><source bridge='b'/><ip address={word}/></interface>"),
    ("", "<interface type='bridge'><source bridge='b'/><route address='0.0.0.0' prefix='0'"
     " gateway={word}/></interface>"),
    ("", "<hostdev mode='capabilities' type='misc'><source><char>{text}</char></source></hostdev>"),
    ("", "<hostdev mode='capabilities' type='net'><source><interface>{text}</interface></source>"
     "</hostdev>"),
    ("", "<disk type='block'><source dev='/dev/sda'/><target dev={word}/></disk>"),
)  # fmt: skip

#: Hooks get no words of liblxc's; it runs nothing.
NO_WORDS: Final = "lxc.hook.version = 1"
WORDS: Final = st.one_of(
    st.text(st.characters(min_codepoint=32, max_codepoint=0xD7FF), max_size=20),
    st.sampled_from(["/a", "/", "eth0", "0-1", "192.0.2.1", "::", "0", ""]),
)


@given(
    place=st.sampled_from(PLACES),
    before=WORDS,
    end=st.sampled_from(["", "\n", "\r", "\t", "\0"]),
    after=st.sampled_from(["", "lxc.hook.start = /x", "/../x", " "]),
)
def test_no_value_injects_a_setting_or_leaves_its_cgroup(
    place: tuple[str, str], before: str, end: str, after: str
) -> None:
    value = quoteattr(before + end + after, {"\n": "&#10;", "\r": "&#13;", "\t": "&#9;"})
    inside, devices = (
        part.replace("{word}", value).replace("{text}", value[1:-1]) for part in place
    )
    try:
        domain = container(inside, devices)
        hostdevs, disks = domain.devices.hostdevs, domain.devices.disks
        sources = [item.source.char or "" for item in hostdevs]
        sources += [item.source.dev or "" for item in disks if item.source is not None]
        facts = HostFacts(
            group=group_name("12345678", domain.name, domain.partition or ""),
            interfaces={
                number: LxcInterface("vnet0p", interface.guest_dev or "eth0")
                for number, interface in enumerate(domain.devices.interfaces)
            },
            device_numbers=dict.fromkeys(sources, "1:3"),
        )
        text = plan_config(domain, facts)
    except ConfError:
        return
    lines = text.removesuffix("\n").split("\n")
    assert all(line.startswith("lxc.") and " = " in line for line in lines)
    assert not any(line.startswith("lxc.hook") for line in lines if line != NO_WORDS)
    assert not any(ord(character) < 32 for line in lines for character in line)
    group = next(line for line in lines if line.startswith("lxc.cgroup.dir.container"))
    assert ".." not in group.partition(" = ")[2].split("/")
