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


def fd_path(fd: int) -> str:
    """The path by which a program opens what it has inherited."""
    return f"/proc/self/fd/{fd}"


@dataclass(frozen=True, slots=True)
class SecretFd:
    """A passphrase that qemu-img reads from a descriptor."""

    name: str  # of the object on its command line
    fd: int

    @property
    def argv(self) -> list[str]:
        """The object."""
        return ["--object", f"secret,id={self.name},file={fd_path(self.fd)}"]


@dataclass(frozen=True, slots=True)
class Cipher:
    """How a LUKS volume is encrypted; "" leaves a matter to qemu-img."""

    algorithm: str = ""  # "aes-256"
    mode: str = ""
    hash: str = ""
    ivgen: str = ""
    ivgen_hash: str = ""


@dataclass(frozen=True, slots=True)
class ImageSpec:
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
    secret: SecretFd | None = None  # it is encrypted with LUKS
    cipher: Cipher = Cipher()

    @property
    def program_format(self) -> str:
        """The format as qemu-img calls it."""
        if self.secret is not None and self.format == "raw":
            return "luks"
        return program_format(self.format)

    @property
    def opens_by_path(self) -> bool:
        """Whether a path and a format say all that a program needs to open it."""
        return self.secret is None and not self.backing


def program_format(libvirt_format: str) -> str:
    """A format of a document as qemu-img calls it."""
    names = {"cow": "raw", "iso": "raw", "dir": "raw", "ploop": "parallels"}
    return names.get(libvirt_format, libvirt_format)


def plan_create(image: ImageSpec) -> list[str]:
    """The command that makes an empty image."""
    argv = ["qemu-img", "create", "-q", "-f", image.program_format]
    argv += image.secret.argv if image.secret else []
    if image.backing:
        argv += ["-b", image.backing, "-F", image.backing_format]
    argv += _options(image)
    argv += [image.path]
    return argv if image.capacity is None else [*argv, str(image.capacity)]


def plan_convert(source: ImageSpec, target: ImageSpec) -> list[str]:
    """The command that makes an image with another's contents; holes stay holes."""
    argv = ["qemu-img", "convert", "-q"]
    for secret in (source.secret, target.secret):
        argv += secret.argv if secret else []
    argv += ["-O", target.program_format, *_options(target)]
    if target.backing:
        argv += ["-B", target.backing, "-F", target.backing_format]
    if source.opens_by_path:
        return [*argv, "-f", source.program_format, source.path, target.path]
    return [*argv, "--image-opts", _image_opts(source), target.path]


def plan_resize(image: ImageSpec, *, shrink: bool) -> list[str]:
    """The command that gives an image another capacity."""
    argv = ["qemu-img", "resize", "-q"]
    argv += image.secret.argv if image.secret else []
    argv += ["--shrink"] if shrink else []
    if image.opens_by_path:
        return [*argv, "-f", image.program_format, image.path, str(image.capacity)]
    return [*argv, "--image-opts", _image_opts(image), str(image.capacity)]


def _image_opts(image: ImageSpec) -> str:
    """An image as `--image-opts` names one: with its passphrase and the image below it."""
    options = [f"driver={image.program_format}", f"file.filename={escape_option(image.path)}"]
    if image.secret is not None:
        prefix = "" if image.program_format == "luks" else "encrypt."
        options.append(f"{prefix}key-secret={image.secret.name}")
    if image.backing:
        options.append(f"backing.driver={program_format(image.backing_format)}")
        options.append(f"backing.file.filename={escape_option(image.backing)}")
    return ",".join(options)


def escape_option(value: str) -> str:
    """A value among others that commas part."""
    return value.replace(",", ",,")


def _options(image: ImageSpec) -> list[str]:
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


def _encryption(image: ImageSpec) -> list[str]:
    if image.secret is None:
        return []
    prefix = "" if image.program_format == "luks" else "encrypt."
    cipher = image.cipher
    options = (
        ("key-secret", image.secret.name),
        ("cipher-alg", cipher.algorithm),
        ("cipher-mode", cipher.mode),
        ("hash-alg", cipher.hash),
        ("ivgen-alg", cipher.ivgen),
        ("ivgen-hash-alg", cipher.ivgen_hash),
    )
    luks_format = ["encrypt.format=luks"] if prefix else []
    return [
        *luks_format,
        *(f"{prefix}{name}={escape_option(value)}" for name, value in options if value),
    ]
