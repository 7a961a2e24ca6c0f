"""A definition follows what its guest does to the images of its disks."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from conf.domain import Domain, parse_domain
from conf.domain.device_xml import format_device
from conf.domain.devices.disk import Disk, DiskTarget
from conf.domain.devices.disk_chain import Layer, layers, push_overlay, set_layers
from conf.domain.devices.source import Source
from supervisor.objects.disk_change import DiskChange, apply_changes


def layer(name: str) -> Layer:
    """An image."""
    return Layer(type="file", source=Source(file=f"/{name}"), format="qcow2")


def defined(names: list[str], *, ends: bool = False) -> Domain:
    """A definition that names these images of its one disk."""
    domain = parse_domain(
        "<domain type='kvm'><name>x</name><memory>1</memory><os><type>hvm</type></os></domain>"
    )
    disk = Disk(target=DiskTarget(dev="vda"))
    set_layers(disk, [layer(name) for name in names], terminated=ends)
    domain.devices.disks = [disk]
    return domain


def chain(domain: Domain) -> list[str]:
    """The images that a definition names."""
    return [(one.path or "")[1:] for one in layers(domain.devices.disks[0])]


@dataclass
class Guest:
    """A running guest's disk, and the changes that it has made."""

    disk: Disk = field(default_factory=lambda: Disk(target=DiskTarget(dev="vda")))
    changes: list[DiskChange] = field(default_factory=list)

    def __post_init__(self) -> None:
        set_layers(self.disk, [layer("c"), layer("b"), layer("a")], terminated=True)

    @property
    def names(self) -> list[str]:
        """Its images."""
        return [(one.path or "")[1:] for one in layers(self.disk)]

    def record(self, before: list[str]) -> None:
        """Note a change, as the worker does."""
        self.changes.append(
            DiskChange(
                number=len(self.changes) + 1,
                target="vda",
                before=[f"file:/{name}" for name in before],
                disk=format_device(self.disk),
            )
        )

    def overlay(self, name: str) -> None:
        """A snapshot."""
        before = self.names
        push_overlay(self.disk, layer(name))
        self.record(before)

    def cut(self, top: int, base: int) -> None:
        """A commit or pull: the images from `top` to above `base` go."""
        before = self.names
        kept = [*before[:top], *before[base:]]
        set_layers(self.disk, [layer(name) for name in kept], terminated=True)
        self.record(before)

    def copy(self, name: str) -> None:
        """A whole copy, and the pivot to it."""
        before = self.names
        set_layers(self.disk, [layer(name)], terminated=True)
        self.record(before)


STEPS = st.lists(
    st.tuples(st.sampled_from(["overlay", "cut", "copy"]), st.integers(0, 9), st.integers(0, 9)),
    max_size=8,
)


@given(STEPS, st.integers(1, 3), st.integers(0, 8))
def test_a_definition_names_the_images_of_its_guest_however_often_changes_are_applied(
    steps: list[tuple[str, int, int]], named: int, seen: int
) -> None:
    guest = Guest()
    for number, (what, first, second) in enumerate(steps):
        if what == "overlay":
            guest.overlay(f"o{number}")
        elif what == "copy":
            guest.copy(f"k{number}")
        elif len(guest.names) > 1:
            top = first % (len(guest.names) - 1)
            guest.cut(top, top + 1 + second % (len(guest.names) - top - 1))
    domain = defined(["c", "b", "a"][:named], ends=named == 3)
    # Killed after any number of changes, a domd applies them all again.
    apply_changes(domain, guest.changes[:seen])
    apply_changes(domain, guest.changes)
    for _ in range(2):
        after = chain(domain)
        assert after == guest.names[: len(after)]
        assert after[0] == guest.names[0]
        assert not domain.devices.disks[0].chain_ends() or after == guest.names
        apply_changes(domain, guest.changes)


def test_a_disk_that_was_redefined_meanwhile_is_left_alone() -> None:
    guest = Guest()
    guest.overlay("o")
    domain = defined(["other"])
    assert not apply_changes(domain, guest.changes)
    assert chain(domain) == ["other"]


def test_a_chain_that_was_another_is_not_mixed_with_the_guests() -> None:
    guest = Guest()
    guest.cut(0, 2)  # c and b are committed to a
    domain = defined(["c", "x", "a"])
    assert apply_changes(domain, guest.changes)
    assert chain(domain) == ["a"]


def test_a_whole_copy_names_its_end_as_libvirts_does() -> None:
    guest = Guest()
    guest.copy("k")
    domain = defined(["c"])
    apply_changes(domain, guest.changes)
    assert domain.devices.disks[0].chain_ends()
