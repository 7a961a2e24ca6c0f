"""Which emulator runs a domain: the one it names, or the usual one of its architecture.

Owns: the names of architectures, and the choice. Pure: whether a file exists, the caller says.
May not touch: the emulator itself (`supervisor.hostd.probe`), files.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from conf.domain.model import Domain
from conf.emulator import EmulatorFacts
from conf.errors import ConfError

#: libvirt's name of an architecture -> the end of its emulator's name.
EMULATOR_NAMES: Final = {
    "aarch64": "aarch64", "alpha": "alpha", "armv6l": "arm", "armv7l": "arm", "cris": "cris",
    "hppa": "hppa", "i686": "i386", "itanium": "itanium", "lm32": "lm32",
    "loongarch64": "loongarch64",
    "m68k": "m68k", "microblaze": "microblaze", "microblazeel": "microblazeel", "mips": "mips",
    "mips64": "mips64", "mips64el": "mips64el", "mipsel": "mipsel", "parisc": "parisc",
    "parisc64": "parisc64", "ppc": "ppc", "ppc64": "ppc64", "ppc64le": "ppc64", "ppcemb": "ppcemb",
    "riscv32": "riscv32", "riscv64": "riscv64", "s390": "s390", "s390x": "s390x", "sh4": "sh4",
    "sh4eb": "sh4eb", "sparc": "sparc", "sparc64": "sparc64", "unicore32": "unicore32",
    "x86_64": "x86_64", "xtensa": "xtensa", "xtensaeb": "xtensaeb",
}  # fmt: skip
#: Architectures that another one's emulator also runs.
SHARED: Final = {("i686", "x86_64"), ("armv7l", "aarch64"), ("armv6l", "aarch64"),
                 ("ppc", "ppc64"), ("ppc64le", "ppc64"), ("armv6l", "armv7l")}  # fmt: skip
FOLDER: Final = "/usr/bin"


def architecture(domain: Domain, host: str) -> str:
    """The guest's architecture; the host's where the document says none.

    Raises:
        ConfError: "config_unsupported": nobody knows such an architecture.
    """
    arch = domain.os.type.arch if domain.os.type else None
    if arch is None:
        return host
    if arch not in EMULATOR_NAMES:
        raise ConfError(
            "config_unsupported", f"Unknown architecture {arch}", "domain/os/type/@arch"
        )
    return arch


def choose_emulator(domain: Domain, host: str, exists: Callable[[str], bool]) -> str:
    """The path of the emulator's binary.

    Args:
        domain: as it was read.
        host: the host's architecture.
        exists: whether a path leads to a program.

    Raises:
        ConfError: "system_error": the binary that the document names is absent;
            "config_unsupported": the architecture has none on this host.
    """
    named = domain.devices.emulator
    if named:
        if not exists(named):
            detail = f"Cannot check QEMU binary {named}: No such file or directory"
            raise ConfError("system_error", detail, "domain/devices/emulator")
        return named
    arch = architecture(domain, host)
    usual = f"{FOLDER}/qemu-system-{EMULATOR_NAMES[arch]}"
    if exists(usual):
        return usual
    other = next((o for a, o in SHARED if a == arch and exists(f"{FOLDER}/qemu-system-{o}")), None)
    if other is None:
        raise ConfError("config_unsupported", f"No emulator found for arch '{arch}'")
    return f"{FOLDER}/qemu-system-{other}"


def check_architecture(arch: str, facts: EmulatorFacts) -> None:
    """Refuse an architecture that the emulator does not have.

    Raises:
        ConfError: "config_unsupported".
    """
    if arch != facts.arch and (arch, facts.arch) not in SHARED and (facts.arch, arch) not in SHARED:
        detail = f"Emulator '{facts.binary}' does not support arch '{arch}'"
        raise ConfError("config_unsupported", detail, "domain/os/type/@arch")
