"""The architectures that there are, and which of them an emulator runs.

Owns: the names. Which emulator runs a domain is hostd's choice (`hostd.emulator.emulators`).
May touch: nothing.
"""

from __future__ import annotations

from typing import Final

from conf.emulator import EmulatorFacts
from conf.errors import ConfError

X86: Final = ("x86_64", "i686")
#: libvirt's names of architectures.
ARCHITECTURES: Final = frozenset((
    "aarch64", "alpha", "armv6l", "armv7b", "armv7l", "cris", "hppa", "i686", "itanium", "lm32",
    "loongarch64", "m68k", "microblaze", "microblazeel", "mips", "mips64", "mips64el", "mipsel",
    "openrisc", "parisc", "parisc64", "ppc", "ppc64", "ppc64le", "ppcemb", "riscv32", "riscv64",
    "s390", "s390x", "sh4", "sh4eb", "sparc", "sparc64", "unicore32", "x86_64", "xtensa",
    "xtensaeb",
))  # fmt: skip
#: Architectures that another one's emulator also runs: which, whose.
SHARED: Final = {("i686", "x86_64"), ("armv7l", "aarch64"), ("armv6l", "aarch64"),
                 ("ppc", "ppc64"), ("ppc64le", "ppc64"), ("armv6l", "armv7l")}  # fmt: skip


def root_of(arch: str | None, machine: str) -> str:
    """Return the model of a machine's PCI root; "" for one without PCI, or that is not known.

    Args:
        arch: None for that of a PC.
        machine: its name in full, or an alias.

    Source: libvirt 9.0 qemuDomainDefAddDefaultDevices.
    """
    match arch:
        case "x86_64" | "i686" | None:
            if machine.startswith("pc-q35-") or machine == "q35":
                return "pcie-root"
            older = machine.startswith(("pc-i440fx-", "pc-0.", "pc-1."))
            return "pci-root" if machine == "pc" or older else ""
        case "aarch64" | "armv7l" | "riscv32" | "riscv64":
            if machine == "virt" or machine.startswith("virt-"):
                return "pcie-root"
            return "pci-root" if machine == "versatilepb" else ""
        case "ppc64" | "ppc64le" | "ppc" | "ppcemb" | "alpha" | "sh4" | "sh4eb" | "sparc64":
            return "pci-root"
    return ""


def check_architecture(arch: str, facts: EmulatorFacts) -> None:
    """Refuse an architecture that the emulator does not have.

    Raises:
        ConfError: "config_unsupported".
    """
    if arch != facts.arch and (arch, facts.arch) not in SHARED:
        detail = f"Emulator '{facts.binary}' does not support arch '{arch}'"
        raise ConfError("config_unsupported", detail, "domain/os/type/@arch")
