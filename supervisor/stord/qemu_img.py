"""qemu-img command lines. Pure.

Owns: argument lists. Secrets are not in them: qemu-img reads each from an inherited descriptor.
May not touch: files, processes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

QCOW2: Final = "qcow2"
QCOW2_V3: Final = "1.1"  # compat level of version 3


def fd_path(fd: int) -> str:
    """Return the path by which a program opens an inherited descriptor."""
    return f"/proc/self/fd/{fd}"


@dataclass(frozen=True, slots=True)
class SecretFd:
    """A passphrase in a descriptor, as a secret object."""

    name: str  # id of the object
    fd: int

    @property
    def argv(self) -> list[str]:
        """Return the --object option."""
        return ["--object", f"secret,id={self.name},file={fd_path(self.fd)}"]


@dataclass(frozen=True, slots=True)
class LuksOptions:
    """LUKS parameters; "" is qemu-img's default."""

    algorithm: str = ""  # "aes-256"
    mode: str = ""
    hash: str = ""
    ivgen: str = ""
    ivgen_hash: str = ""


@dataclass(frozen=True, slots=True)
class ImageSpec:
    """An image to create, or an existing one."""

    path: str
    format: str
    capacity: int | None = None  # bytes; None: the backing file's
    compat: str = ""
    features: tuple[str, ...] = ()
    cluster_size: int = 0
    backing: str = ""
    backing_format: str = ""
    preallocation: str = ""  # "metadata", "falloc"
    nocow: bool = False
    secret: SecretFd | None = None  # of LUKS encryption
    cipher: LuksOptions = LuksOptions()

    @property
    def program_format(self) -> str:
        """Return qemu-img's driver of the image."""
        if self.secret is not None and self.format == "raw":
            return "luks"
        return program_format(self.format)

    @property
    def opens_by_path(self) -> bool:
        """Return whether path and format suffice to open it, without --image-opts."""
        return self.secret is None and not self.backing


def program_format(libvirt_format: str) -> str:
    """Map libvirt's format to qemu-img's driver."""
    names = {"cow": "raw", "iso": "raw", "dir": "raw", "ploop": "parallels"}
    return names.get(libvirt_format, libvirt_format)


def plan_create(image: ImageSpec) -> list[str]:
    """Create an empty image."""
    argv = ["qemu-img", "create", "-q", "-f", image.program_format]
    argv += image.secret.argv if image.secret else []
    if image.backing:
        argv += ["-b", image.backing, "-F", image.backing_format]
    argv += _options(image)
    argv += [image.path]
    return argv if image.capacity is None else [*argv, str(image.capacity)]


def plan_convert(source: ImageSpec, target: ImageSpec) -> list[str]:
    """Create an image with the content of another; holes stay holes."""
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
    """Resize an image."""
    argv = ["qemu-img", "resize", "-q"]
    argv += image.secret.argv if image.secret else []
    argv += ["--shrink"] if shrink else []
    if image.opens_by_path:
        return [*argv, "-f", image.program_format, image.path, str(image.capacity)]
    return [*argv, "--image-opts", _image_opts(image), str(image.capacity)]


def _image_opts(image: ImageSpec) -> str:
    """Return --image-opts with secret and backing file.

    The backing file is named, because the image is opened as /proc/self/fd/N: QEMU would resolve a
    relative name in its header against /proc/self/fd.
    """
    options = [f"driver={image.program_format}", f"file.filename={escape_option(image.path)}"]
    if image.secret is not None:
        prefix = "" if image.program_format == "luks" else "encrypt."
        options.append(f"{prefix}key-secret={image.secret.name}")
    if image.backing:
        options.append(f"backing.driver={program_format(image.backing_format)}")
        options.append(f"backing.file.filename={escape_option(image.backing)}")
    return ",".join(options)


def escape_option(value: str) -> str:
    """Escape commas in an option's value."""
    return value.replace(",", ",,")


def _options(image: ImageSpec) -> list[str]:
    """Return -o with the format's options."""
    options: list[str] = []
    if image.format == QCOW2:
        options += [f"compat={image.compat or QCOW2_V3}"]
        options += [f"{feature}=on" for feature in image.features]
    # Of any format, as libvirt: qemu-img refuses it where the format has none.
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
