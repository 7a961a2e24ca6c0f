"""Devices that another process serves: what is refused of them, as by libvirt 9.0 (measured)."""

from __future__ import annotations

import pytest

from conf.domain import Domain, parse_domain
from conf.domain.defaults import complete
from conf.emulator import EmulatorFacts
from conf.errors import ConfError

UNSUPPORTED = "config_unsupported"
SHARED = "<memoryBacking><source type='memfd'/><access mode='shared'/></memoryBacking>"
UNIX = "<source type='unix' path='/s'/>"


def completed(facts: EmulatorFacts, devices: str, memory: str = SHARED) -> Domain:
    """A small guest with these devices."""
    xml = (
        f"<domain type='qemu'><name>small</name><memory>65536</memory>{memory}"
        "<os><type arch='x86_64' machine='pc'>hvm</type></os>"
        f"<devices>{devices}</devices></domain>"
    )
    return complete(parse_domain(xml), facts)


def disk(inside: str = "", *, driver: str = "", source: str = UNIX, attributes: str = "") -> str:
    """A disk of a vhost-user process."""
    return (
        f"<disk type='vhostuser'{attributes}><driver name='qemu'{driver}/>{source}"
        f"<target dev='vda' bus='virtio'/>{inside}</disk>"
    )


def net(source: str, model: str = "virtio", inside: str = "") -> str:
    """An interface of a vhost-user process."""
    return f"<interface type='vhostuser'>{source}<model type='{model}'/>{inside}</interface>"


@pytest.mark.parametrize(
    ("element", "name"),
    [
        (disk("<readonly/>"), "readonly"),
        (disk("<shareable/>"), "shareable"),
        (disk("<transient/>"), "transient"),
        (disk("<serial>a</serial>"), "serial"),
        (disk("<backingStore/>"), "backingStore"),
        (disk("<blockio logical_block_size='512'/>"), "blockio"),
        (disk("<geometry cyls='1' heads='1' secs='1'/>"), "geometry"),
        (disk("<iotune><total_bytes_sec>1</total_bytes_sec></iotune>"), "iotune"),
        (disk("<auth username='u'><secret type='ceph' usage='x'/></auth>"), "auth"),
        (disk(driver=" cache='none'"), "cache"),
        (disk(driver=" io='threads'"), "io"),
        (disk(driver=" discard='ignore'"), "discard"),
        (disk(driver=" error_policy='stop'"), "error_policy"),
        (disk(driver=" rerror_policy='report'"), "error_policy"),
        (disk(driver=" ioeventfd='off'"), "ioeventfd"),
    ],
)
def test_a_vhost_user_disk_has_no_settings_of_an_image(
    emulator_facts: EmulatorFacts, element: str, name: str
) -> None:
    with pytest.raises(ConfError, match=f"{name} is not supported with vhostuser") as refused:
        completed(emulator_facts, element)
    assert refused.value.kind == UNSUPPORTED


@pytest.mark.parametrize(
    ("element", "kind", "message"),
    [
        (disk(source="<source type='unix'/>"), "xml", "missing 'path'"),
        (disk(source="<source type='unix' path='/s' startupPolicy='optional'/>"), "xml",
         "not allowed for disk of 'vhostuser' type"),
        (disk(attributes=" snapshot='external'"), UNSUPPORTED, "only snapshot=no"),
        (disk(attributes=" sgio='unfiltered'"), UNSUPPORTED, "no longer supported"),
        (net("<source type='unix' path='/s' mode='server'>"
             "<reconnect enabled='yes' timeout='1'/></source>"), UNSUPPORTED, "'reconnect'"),
        (net("<source type='unix' path='/s' mode='client'/>", "virtio-net"), "internal",
         "requires the virtio-net"),
        (net("<source type='unix' path='/s' mode='client'/>", "virtio",
             "<coalesce><rx><frames max='1'/></rx></coalesce>"), UNSUPPORTED, "coalesce settings"),
        ("<filesystem multidevs='remap'><driver type='virtiofs'/><source socket='/s'/>"
         "<target dir='t'/></filesystem>", UNSUPPORTED, "virtiofs does not support multidevs"),
        ("<filesystem model='virtio'><driver type='virtiofs'/><source dir='/s'/>"
         "<target dir='t'/></filesystem>", UNSUPPORTED, "virtiofs does not support model"),
        ("<filesystem><driver type='virtiofs' wrpolicy='immediate'/><source dir='/s'/>"
         "<target dir='t'/></filesystem>", UNSUPPORTED, "virtiofs does not support wrpolicy"),
        ("<filesystem><source dir='/s'/><target dir='t'/><boot order='1'/></filesystem>",
         UNSUPPORTED, "boot order is only supported for virtiofs"),
        ("<filesystem type='bind'><source dir='/s'/><target dir='t'/></filesystem>",
         UNSUPPORTED, "only supports mount filesystem type"),
        ("<filesystem><driver type='loop'/><source dir='/s'/><target dir='t'/></filesystem>",
         UNSUPPORTED, "driver type not supported"),
    ],
)  # fmt: skip
def test_devices_of_other_processes_are_refused_with_libvirts_code(
    emulator_facts: EmulatorFacts, element: str, kind: str, message: str
) -> None:
    with pytest.raises(ConfError, match=message) as refused:
        completed(emulator_facts, element)
    assert refused.value.kind == kind


@pytest.mark.parametrize("memory", ["", SHARED.replace("shared", "private")])
def test_a_vhost_user_disk_needs_memory_that_its_process_can_map(
    emulator_facts: EmulatorFacts, memory: str
) -> None:
    with pytest.raises(ConfError, match="'vhostuser' requires shared memory"):
        completed(emulator_facts, disk(), memory)


def test_a_virtiofsd_that_is_not_ours_may_serve_read_only(emulator_facts: EmulatorFacts) -> None:
    element = (
        "<filesystem accessmode='mapped'><driver type='virtiofs'/><source socket='/s' dir='/d'/>"
        "<target dir='t'/><readonly/></filesystem>"
    )
    filesystem = completed(emulator_facts, element).devices.filesystems[0]
    assert (filesystem.source_socket, filesystem.source_path) == ("/s", None)
