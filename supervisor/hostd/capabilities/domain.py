"""<domainCapabilities>: what a domain may use with one emulator and machine. Pure.

Owns: that XML (libvirt 9.0 formatdomaincaps), and which QEMU device or property each value needs.
May not touch: files, QEMU.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from conf.emulator import EmulatorFacts, Machine
from supervisor.hostd.capabilities.xml_writer import Element, group, text, write
from supervisor.images.firmware_descriptors import INTERFACES, Descriptor

#: Value in the XML and the QEMU device type that it needs; "" needs none.
VIDEO: Final = (
    ("vga", "VGA"),
    ("cirrus", "cirrus-vga"),
    ("vmvga", "vmware-svga"),
    ("qxl", "qxl"),
    ("virtio", "virtio-gpu-pci"),
    ("none", ""),
    ("bochs", "bochs-display"),
    ("ramfb", "ramfb"),
)
DISK_BUSES: Final = (
    ("ide", "ide-hd"),
    ("fdc", "floppy"),
    ("scsi", "scsi-hd"),
    ("virtio", "virtio-blk-pci"),
    ("usb", "usb-storage"),
    ("sata", "ich9-ahci"),
)
#: <graphics type> and the -display backend that it needs.
GRAPHICS: Final = (("sdl", "sdl"), ("egl-headless", "egl-headless"), ("dbus", "dbus"))
HYPERV: Final = (
    ("relaxed", "hv-relaxed"),
    ("vapic", "hv-vapic"),
    ("spinlocks", "hv-spinlocks"),
    ("vpindex", "hv-vpindex"),
    ("runtime", "hv-runtime"),
    ("synic", "hv-synic"),
    ("stimer", "hv-stimer"),
    ("reset", "hv-reset"),
    ("vendor_id", "hv-vendor-id"),
    ("frequencies", "hv-frequencies"),
    ("reenlightenment", "hv-reenlightenment"),
    ("tlbflush", "hv-tlbflush"),
    ("ipi", "hv-ipi"),
    ("evmcs", "hv-evmcs"),
    ("avic", "hv-avic"),
)


@dataclass(frozen=True, slots=True)
class CustomModel:
    """A model of <mode name='custom'>."""

    name: str
    vendor: str
    usable: bool
    deprecated: bool


@dataclass(frozen=True, slots=True)
class HostModel:
    """The CPU of <mode name='host-model'>."""

    model: str
    vendor: str
    features: tuple[tuple[str, str], ...]  # (policy, name)


@dataclass(frozen=True, slots=True)
class CpuModes:
    """The modes of <cpu>."""

    passthrough: bool
    host_model: HostModel | None
    models: Sequence[CustomModel]


@dataclass(frozen=True, slots=True)
class HostParts:
    """What the host adds to an emulator."""

    cpus: CpuModes
    firmware: Sequence[Descriptor]  # for the machine type, with files that are there
    swtpm: bool  # is installed, which emulates TPMs


def write_domain_capabilities(
    facts: EmulatorFacts, machine: Machine, virt_type: str, host: HostParts
) -> str:
    """Write the XML."""
    return write(
        group(
            "domainCapabilities",
            text("path", facts.binary),
            text("domain", virt_type),
            text("machine", machine.name),
            text("arch", facts.arch),
            group("vcpu", max=machine.max_cpus),
            supported("iothreads", on=facts.has_object("iothread")),
            os_part(host.firmware),
            cpu_part(host.cpus),
            supported(
                "memoryBacking",
                enum("sourceType", memory_sources(facts)),
                on=True,
            ),
            devices_part(facts, machine.name, swtpm=host.swtpm),
            features_part(facts),
        )
    )


def os_part(firmware: Sequence[Descriptor]) -> Element:
    """Build <os>: the firmware that <os firmware=> can choose, and the files for <loader>."""
    interfaces = {name for descriptor in firmware for name in descriptor.interface_types}
    # Only code in SMM may then write the flash: <loader secure='yes'/>.
    secure = any("requires-smm" in descriptor.features for descriptor in firmware)
    loader = supported(
        "loader",
        *(text("value", path) for path in dict.fromkeys(one.file for one in firmware) if path),
        enum("type", ["rom", "pflash"]),
        enum("readonly", ["yes", "no"]),
        enum("secure", ["yes", "no"] if secure else ["no"]),
        on=True,
    )
    choices = [name for name in ("bios", "efi") if INTERFACES[name] in interfaces]
    return supported("os", enum("firmware", choices), loader, on=True)


def cpu_part(cpus: CpuModes) -> Element:
    """Build <cpu>."""
    passthrough = enum("hostPassthroughMigratable", ["on", "off"]) if cpus.passthrough else None
    models = [
        (
            "model",
            {"usable": "yes" if m.usable else "no", "vendor": m.vendor or "unknown"}
            | ({"deprecated": "yes"} if m.deprecated else {}),
            m.name,
        )
        for m in cpus.models
    ]
    return group(
        "cpu",
        mode("host-passthrough", passthrough, on=cpus.passthrough),
        mode("maximum", enum("maximumMigratable", ["on", "off"]), on=True),
        mode("host-model", *host_model_parts(cpus.host_model), on=cpus.host_model is not None),
        mode("custom", *models, on=bool(models)),
    )


def host_model_parts(host: HostModel | None) -> list[Element]:
    """Build the children of <mode name='host-model'>."""
    if host is None:
        return []
    parts: list[Element] = [("model", {"fallback": "forbid"}, host.model)]
    if host.vendor:
        parts.append(text("vendor", host.vendor))
    return parts + [group("feature", policy=p, name=name) for p, name in host.features]


def memory_sources(facts: EmulatorFacts) -> list[str]:
    """Return the values of <memoryBacking><source type>."""
    memfd = ["memfd"] if facts.has_object("memory-backend-memfd") else []
    return ["file", "anonymous", *memfd]


def devices_part(facts: EmulatorFacts, machine: str, *, swtpm: bool) -> Element:
    """Build <devices>."""
    virtio = ["virtio", "virtio-transitional", "virtio-non-transitional"]
    disks = [
        enum("diskDevice", ["disk", "cdrom", "floppy", "lun"]),
        enum("bus", disk_buses(facts, machine)),
        enum("model", virtio),
    ]
    rng = facts.has_device("virtio-rng-pci")
    redirection = facts.has_device("usb-redir")
    return group(
        "devices",
        supported("disk", *disks, on=True),
        supported("graphics", enum("type", graphics(facts)), on=True),
        supported("video", enum("modelType", available(facts, VIDEO)), on=True),
        hostdev_part(facts),
        supported(
            "rng",
            enum("model", virtio),
            enum("backendModel", rng_backends(facts)),
            on=rng,
        ),
        supported(
            "filesystem", enum("driverType", filesystems(facts)), on=bool(filesystems(facts))
        ),
        tpm_part(facts, swtpm=swtpm),
        supported("redirdev", enum("bus", ["usb"]), on=redirection),
        supported("channel", enum("type", channels(facts)), on=True),
    )


def disk_buses(facts: EmulatorFacts, machine: str) -> list[str]:
    """List the disk buses of a machine; libvirt has IDE where it is a part of the board alone."""
    has_ide = machine in ("pc", "isapc") or machine.startswith("pc-i440fx-")
    return [bus for bus in available(facts, DISK_BUSES) if bus != "ide" or has_ide]


def hostdev_part(facts: EmulatorFacts) -> Element:
    """Build <hostdev>."""
    kinds = available(facts, (("usb", "usb-host"), ("pci", "vfio-pci"), ("scsi", "scsi-generic")))
    return supported(
        "hostdev",
        enum("mode", ["subsystem"]),
        enum("startupPolicy", ["default", "mandatory", "requisite", "optional"]),
        enum("subsysType", kinds),
        enum("capsType", []),
        enum("pciBackend", []),
        on=bool(kinds),
    )


def tpm_part(facts: EmulatorFacts, *, swtpm: bool) -> Element:
    """Build <tpm>.

    virt-install gives every UEFI guest a TPM where the backend "emulator" is announced.
    """
    backends = facts.tpm_types if swtpm else facts.tpm_types - {"emulator"}
    return supported(
        "tpm",
        enum("model", sorted(facts.tpm_models, reverse=True)),
        enum("backendModel", sorted(backends, reverse=True)),
        on=bool(facts.tpm_models),
    )


def graphics(facts: EmulatorFacts) -> list[str]:
    """Return the values of <graphics type>."""
    types = ["vnc"] if "vnc" in facts.options else []
    types += ["spice"] if "spice" in facts.options else []
    types += [name for name, display in GRAPHICS if facts.has_backend("display", display)]
    return sorted(types, key=["sdl", "vnc", "spice", "egl-headless", "dbus"].index)


def rng_backends(facts: EmulatorFacts) -> list[str]:
    """Return the values of <rng><backend model>."""
    kinds = (("random", "rng-random"), ("egd", "rng-egd"), ("builtin", "rng-builtin"))
    return [name for name, kind in kinds if facts.has_object(kind)]


def filesystems(facts: EmulatorFacts) -> list[str]:
    """Return the values of <filesystem><driver type>."""
    paths = ["path", "handle"] if facts.has_device("virtio-9p-pci") else []
    return paths + (["virtiofs"] if facts.has_device("vhost-user-fs-pci") else [])


def channels(facts: EmulatorFacts) -> list[str]:
    """Return the values of <channel type>."""
    spice = ["spicevmc"] if facts.has_backend("chardev", "spicevmc") else []
    return ["pty", "unix", *spice]


def features_part(facts: EmulatorFacts) -> Element:
    """Build <features>."""
    cpu = (
        facts.properties.get("max-x86_64-cpu") or facts.properties.get("x86_64-cpu") or frozenset()
    )
    hyperv = [name for name, cpu_property in HYPERV if cpu_property in cpu]
    return group(
        "features",
        supported("gic", on=False),
        supported("vmcoreinfo", on=facts.has_device("vmcoreinfo")),
        supported("genid", on=facts.has_device("vmgenid")),
        supported("backingStoreInput", on=True),
        supported("backup", on=True),
        supported("sev", on=facts.sev is not None),
        supported("sgx", on=False),
        supported("hyperv", enum("features", hyperv) if hyperv else None, on=bool(hyperv)),
    )


def available(facts: EmulatorFacts, devices: Iterable[tuple[str, str]]) -> list[str]:
    """Return the values whose QEMU device exists."""
    return [name for name, device in devices if not device or facts.has_device(device)]


def supported(tag: str, *children: Element | None, on: bool) -> Element:
    """Make an element with supported='yes' and its details, or 'no'."""
    return group(tag, *(children if on else ()), supported="yes" if on else "no")


def mode(name: str, *children: Element | None, on: bool) -> Element:
    """Make a <mode>."""
    inside = children if on else ()
    return ("mode", {"name": name, "supported": "yes" if on else "no"}, list(inside))


def enum(name: str, values: Iterable[str]) -> Element:
    """Make an <enum>."""
    return ("enum", {"name": name}, [text("value", value) for value in values])
