"""<backingStore>: the images below a disk's top one, each inside the one above it.

Source: libvirt 9.0 formatdomain, "Hard drives, floppy disks, CDROMs".

A chain may have 200 images, and the XML of a running guest names each at every change. Nearly all
of them are plain files, which are read and written in one go, without the plan of each field.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from operator import attrgetter
from typing import Final

from lxml import etree

from conf.domain.devices.source import Source, lenient_index
from conf.errors import ConfError
from conf.mapper import Mode, attribute, child, element, escape_attribute, read, text, write_element
from conf.types.enum import one_of
from conf.types.integer import unsigned
from conf.types.size import to_bytes

TYPES = one_of("file", "block", "dir", "network", "volume", "nvme", "vhostuser", "vhostvdpa")
FORMATS = one_of(
    "raw", "dir", "bochs", "cloop", "dmg", "iso", "vpc", "vdi", "fat", "vhd", "ploop",
    "cow", "qcow", "qcow2", "qed", "vmdk", "luks",
    unknown="unknown driver format value '{}'",
)  # fmt: skip
BACKING_FORMATS = one_of(*FORMATS.values, unknown="unknown storage source format '{}'", kind="xml")

#: Of a source, what XML can say beside the path of a file.
_MORE: Final = tuple(
    place.name for place in fields(Source) if place.name not in ("file", "type", "place")
)
_rest_of: Final = attrgetter(*_MORE)
_NO_MORE: Final = _rest_of(Source())
_FORMATS: Final = frozenset(FORMATS.values)


@element("max_size")
@dataclass(slots=True, kw_only=True)
class CacheSize:
    """<max_size>: bytes of metadata kept in memory."""

    unit: str = attribute("@unit", default="bytes")
    amount: int = text(".", read=unsigned, default=0)

    def after_read(self) -> None:
        """Count in bytes."""
        self.amount, self.unit = to_bytes(self.amount, self.unit), "bytes"


@element("format")
@dataclass(slots=True, kw_only=True)
class BackingFormat:
    """<format> of a backing file."""

    type: str = attribute("@type", read=BACKING_FORMATS, default="")
    metadata_cache: CacheSize | None = child(
        "metadata_cache/max_size", CacheSize, merge=True, empty_is_absent=True
    )


@element("backingStore")
@dataclass(slots=True, kw_only=True)
class BackingStore:
    """<backingStore>: what lies under an image; an empty one says that nothing does."""

    type: str | None = attribute("@type", read=TYPES)
    index: int | None = attribute("@index", read=lenient_index, only="live")
    format: BackingFormat | None = child("format", BackingFormat, merge=True)
    source: Source | None = child("source", Source)
    backing_store: BackingStore | None = child("backingStore", lambda: BackingStore)

    @staticmethod
    def read_whole(node: etree._Element) -> BackingStore | None:
        """Read a chain whose upper images are plain files; None: the first is not.

        As the fields say it, in a sixth of the time.
        """
        above: list[tuple[str | None, str, str]] = []
        rest: etree._Element | None = node
        while rest is not None and (found := _plain_parts(rest)) is not None:
            above.append(found[:3])
            rest = found[3]
        if not above:
            return None
        store = read(BackingStore, rest) if rest is not None else None
        for index, form, file in reversed(above):
            store = BackingStore(
                type="file",
                index=lenient_index(index) if index is not None else None,
                format=BackingFormat(type=form),
                source=Source(file=file),
                backing_store=store,
            )
        return store

    def write_whole(self, mode: Mode, lines: list[str], level: int) -> bool:
        """Add the lines of a chain whose upper images are plain files; False: the first is not.

        As the fields say it, in a quarter of the time.
        """
        store: BackingStore | None = self
        pads: list[str] = []
        while store is not None and store.is_plain():
            assert store.format is not None, "a plain file has a format"
            assert store.source is not None, "a plain file has a source"
            pad = "  " * (level + len(pads))
            pads.append(pad)
            number = f" index='{store.index}'" if mode.live and store.index is not None else ""
            lines += (
                f"{pad}<backingStore type='file'{number}>",
                f"{pad}  <format type='{store.format.type}'/>",
                f"{pad}  <source file='{escape_attribute(store.source.file or '')}'/>",
            )
            store = store.backing_store
        if not pads:
            return False
        if store is not None:
            write_element(store, mode, lines, level + len(pads), "backingStore")
        lines.extend(f"{pad}</backingStore>" for pad in reversed(pads))
        return True

    def is_plain(self) -> bool:
        """Return whether it is a file of which no more is said than its format and its path."""
        source, form = self.source, self.format
        return (
            self.type == "file"
            and source is not None
            and bool(source.file)
            and _rest_of(source) == _NO_MORE
            and type(form) is BackingFormat
            and form.metadata_cache is None
            and form.type in _FORMATS
        )

    def after_read(self) -> None:
        """Check that an image has its parts; without type= it is the end of the chain.

        Raises:
            ConfError: "xml": a part is missing.
        """
        path = "backingStore"
        if self.type is None:
            self.format = self.source = self.backing_store = None
            return
        if self.format is None or not self.format.type:
            raise ConfError("xml", "missing disk backing store format", f"{path}/format/@type")
        if self.source is None:
            raise ConfError("xml", "missing disk backing store source", f"{path}/source")
        self.source.keep_type(self.type)


def _plain_parts(
    node: etree._Element,
) -> tuple[str | None, str, str, etree._Element | None] | None:
    """Return the index, format and path of a plain file, and the <backingStore> below it.

    Returns:
        None: something else is there, or a part is missing.
    """
    parts = list(node)
    tags = [part.tag for part in parts]
    if tags not in (["format", "source"], ["format", "source", "backingStore"]):
        return None
    form, source = parts[0], parts[1]
    attributes, form_type = node.attrib, form.get("type")
    file = source.get("file")
    is_plain = (
        attributes.get("type") == "file"
        and len(attributes) == 1 + ("index" in attributes)
        and form_type in _FORMATS
        and not len(form)
        and len(source.attrib) == 1
        and not len(source)
    )
    if not is_plain or not file or form_type is None:
        return None
    return attributes.get("index"), form_type, file, parts[2] if len(parts) == 3 else None
