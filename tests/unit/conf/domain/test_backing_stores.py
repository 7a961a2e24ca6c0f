"""A chain of images is read and written in one go as its fields say it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from hypothesis import given
from hypothesis import strategies as st

from conf.domain.device_xml import format_device, parse_device
from conf.domain.devices.backing_store import BackingStore
from conf.domain.devices.disk import Disk
from conf.errors import ConfError

PATHS = st.text("a/&<'\"é ", max_size=5)
TYPES = st.sampled_from(["file", "file", "file", "block", "network", "odd", ""])
FORMS = st.sampled_from(["qcow2", "raw", "none", ""])
INDEXES = st.sampled_from(["", " index='7'", " index='x'", " index=''", " other='1'"])
INSIDE = st.sampled_from(
    ["", "", "", "<seclabel model='dac' relabel='no'/>", "<slices><slice size='1'/></slices>"]
)
CACHES = st.sampled_from(["", "", "<metadata_cache><max_size>1</max_size></metadata_cache>"])


@st.composite
def stores(draw: st.DrawFn) -> str:
    """A chain of images, of which most are plain files."""
    ends = "<backingStore/>"
    below = draw(st.sampled_from(["", ends, "<backingStore foo='1'/>", ends + ends]))
    for _ in range(draw(st.integers(0, 4))):
        path = draw(PATHS).replace("&", "&amp;").replace("<", "&lt;").replace("'", "&apos;")
        source = f"<source file='{path}' dev='/d'>{draw(INSIDE)}</source>"
        if draw(st.booleans()):
            source = f"<source file='{path}'/>"
        form = f"<format type='{draw(FORMS)}'>{draw(CACHES)}</format>"
        kind = draw(TYPES)
        head = f"<backingStore type='{kind}'{draw(INDEXES)}>" if kind else "<backingStore>"
        order = draw(st.permutations([form, source])) if draw(st.booleans()) else [form, source]
        below = f"{head}{''.join(order)}{below}</backingStore>"
    return below


@contextmanager
def field_by_field() -> Iterator[None]:
    """Read and write by the fields alone."""
    read, write = BackingStore.read_whole, BackingStore.write_whole
    del BackingStore.read_whole, BackingStore.write_whole
    try:
        yield
    finally:
        BackingStore.read_whole = staticmethod(read)  # type: ignore[method-assign]
        BackingStore.write_whole = write  # type: ignore[method-assign]


def outcome(xml: str) -> object:
    """What reading a disk and writing it comes to: the model, its live XML and its definition's."""
    try:
        _, disk = parse_device(xml)
    except ConfError as error:
        return error.kind, str(error)
    return disk, format_device(disk, live=True), format_device(disk)


@given(stores())
def test_a_chain_is_read_and_written_as_its_fields_say(below: str) -> None:
    xml = (
        "<disk type='file'><driver name='qemu' type='qcow2'/><source file='/top'/>"
        f"{below}<target dev='vda' bus='virtio'/></disk>"
    )
    whole = outcome(xml)
    with field_by_field():
        assert outcome(xml) == whole


def test_plain_files_are_read_in_one_go() -> None:
    store = "<backingStore type='file' index='{}'><format type='qcow2'/><source file='/{}'/>{}"
    below = "<backingStore/>"
    for number in range(1, 150):
        below = store.format(number, number, below) + "</backingStore>"
    _, disk = parse_device(f"<disk><source file='/t'/>{below}<target dev='vda'/></disk>")
    assert isinstance(disk, Disk)
    assert disk.chain_ends()
    assert disk.backing_store is not None
    assert disk.backing_store.index == 149
    assert disk.backing_store.is_plain()
    assert disk.backing_store.source is not None
    assert disk.backing_store.source.file == "/149"
