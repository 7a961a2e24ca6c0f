"""Command lines of qemu-img. Pure.

Owns: those words. Secrets never stand in them: qemu-img reads each from a descriptor.
May not touch: files, processes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

#: What only a qcow2 has, by name in a document and as qemu-img calls it.
QCOW2: Final = "qcow2"
QCOW2_V3: Final = "1.1"


def path_of(descriptor: int) -> str:
    """The path by which a program opens what it has inherited."""
    return f"/proc/self/fd/{descriptor}"


@dataclass(frozen=True, slots=True)
class Key:
    """A passphrase that qemu-img reads from a descriptor."""

    name: str  # of the object on its command line
    descriptor: int

    @property
    def words(self) -> list[str]:
        """The object."""
        return ["--object", f"secret,id={self.name},file={path_of(self.descriptor)}"]


@dataclass(frozen=True, slots=True)
class Cipher:
    """How a LUKS volume is encrypted; "" leaves a matter to qemu-img."""

    algorithm: str = ""  # "aes-256"
    mode: str = ""
    hash: str = ""
    ivgen: str = ""
    ivgen_hash: str = ""


@dataclass(frozen=True, slots=True)
class Image:
    """An image that is to be made, or is there."""

    path: str
    format: str
    capacity: int | None = None  # bytes; None: as its backing file's
    compat: str = ""
    features: tuple[str, ...] = ()
    cluster_size: int = 0
    backing: str = ""
    backing_format: str = ""
    preallocation: str = ""  # "metadata", "falloc"
    nocow: bool = False
    key: Key | None = None  # it is encrypted with LUKS
    cipher: Cipher = Cipher()

    @property
    def program_format(self) -> str:
        """The format as qemu-img calls it."""
        if self.key is not None and self.format == "raw":
            return "luks"
        return program_format(self.format)

    @property
    def is_plainly_named(self) -> bool:
        """Whether a path and a format say all that a program needs to open it."""
        return self.key is None and not self.backing


def program_format(form: str) -> str:
    """A format of a document as qemu-img calls it."""
    names = {"cow": "raw", "iso": "raw", "dir": "raw", "ploop": "parallels"}
    return names.get(form, form)


def plan_create(image: Image) -> list[str]:
    """The command that makes an empty image."""
    words = ["qemu-img", "create", "-q", "-f", image.program_format]
    words += image.key.words if image.key else []
    if image.backing:
        words += ["-b", image.backing, "-F", image.backing_format]
    words += _options(image)
    words += [image.path]
    return words if image.capacity is None else [*words, str(image.capacity)]


def plan_convert(source: Image, target: Image) -> list[str]:
    """The command that makes an image with another's contents; holes stay holes."""
    words = ["qemu-img", "convert", "-q"]
    for key in (source.key, target.key):
        words += key.words if key else []
    words += ["-O", target.program_format, *_options(target)]
    if target.backing:
        words += ["-B", target.backing, "-F", target.backing_format]
    if source.is_plainly_named:
        return [*words, "-f", source.program_format, source.path, target.path]
    return [*words, "--image-opts", _opened(source), target.path]


def plan_resize(image: Image, *, shrink: bool) -> list[str]:
    """The command that gives an image another capacity."""
    words = ["qemu-img", "resize", "-q"]
    words += image.key.words if image.key else []
    words += ["--shrink"] if shrink else []
    if image.is_plainly_named:
        return [*words, "-f", image.program_format, image.path, str(image.capacity)]
    return [*words, "--image-opts", _opened(image), str(image.capacity)]


def _opened(image: Image) -> str:
    """An image as `--image-opts` names one: with its passphrase and the image below it."""
    words = [f"driver={image.program_format}", f"file.filename={escaped(image.path)}"]
    if image.key is not None:
        prefix = "" if image.program_format == "luks" else "encrypt."
        words.append(f"{prefix}key-secret={image.key.name}")
    if image.backing:
        words.append(f"backing.driver={program_format(image.backing_format)}")
        words.append(f"backing.file.filename={escaped(image.backing)}")
    return ",".join(words)


def escaped(value: str) -> str:
    """A value among others that commas part."""
    return value.replace(",", ",,")


def _options(image: Image) -> list[str]:
    """The options of the format."""
    options: list[str] = []
    if image.format == QCOW2:
        options += [f"compat={image.compat or QCOW2_V3}"]
        options += [f"{feature}=on" for feature in image.features]
        options += [f"cluster_size={image.cluster_size}"] if image.cluster_size else []
    options += _encryption(image)
    options += [f"preallocation={image.preallocation}"] if image.preallocation else []
    options += ["nocow=on"] if image.nocow else []
    return ["-o", ",".join(options)] if options else []


def _encryption(image: Image) -> list[str]:
    if image.key is None:
        return []
    prefix = "" if image.program_format == "luks" else "encrypt."
    cipher = image.cipher
    given = (
        ("key-secret", image.key.name),
        ("cipher-alg", cipher.algorithm),
        ("cipher-mode", cipher.mode),
        ("hash-alg", cipher.hash),
        ("ivgen-alg", cipher.ivgen),
        ("ivgen-hash-alg", cipher.ivgen_hash),
    )
    start = ["encrypt.format=luks"] if prefix else []
    return [*start, *(f"{prefix}{name}={escaped(value)}" for name, value in given if value)]
