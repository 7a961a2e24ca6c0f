"""Installs the daemon on a host: `./dev install [--prefix DIR] [--destdir DIR]`.

Owns: which file goes where. May touch: files below destdir; with no destdir the host's users,
temporary files and systemd, which are told of what is new.

The daemon and its Python libraries go to a virtual environment of their own, PREFIX/lib/virtvisor:
Debian's packages and pip's other users neither see nor change them.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from installer.man_pages import man_pages

SOURCE: Final = Path(__file__).resolve().parent
PROJECT: Final = SOURCE.parent
BUILD_S: Final = 900.0
COMMAND_S: Final = 60.0
#: Programs, by the function that each runs.
PROGRAMS: Final = {
    "sbin/libvirtd": "supervisor.root.main:main",
    "bin/virt-ssh-helper": "supervisor.ctl.ssh_socket_proxy:main",
    "bin/virtvisorctl": "supervisor.ctl.virtvisorctl:main",
}
LAUNCHER: Final = """\
#!{python} -I
import sys

from {module} import {function}

sys.exit({function}())
"""
UNITS: Final = tuple(sorted(path.name for path in (SOURCE / "systemd").iterdir()))
#: Sockets that are switched on by an installation; TLS and TCP are the administrator's choice.
ENABLED: Final = ("libvirtd.socket", "libvirtd-ro.socket", "libvirtd-admin.socket")


class InstallError(Exception):
    """The installation cannot be made; the message says why."""


@dataclass(frozen=True, slots=True)
class Layout:
    """Where files go."""

    prefix: Path  # /usr or /usr/local
    destdir: Path  # before every path; / on the host itself

    @property
    def environment(self) -> Path:
        """The virtual environment, as the running daemon sees it."""
        return self.prefix / "lib/virtvisor"

    @property
    def units(self) -> Path:
        """Systemd's folder for units of this prefix."""
        if self.prefix == Path("/usr"):
            return Path("/lib/systemd/system")
        return Path("/etc/systemd/system")

    def at(self, path: Path) -> Path:
        """Return a path below destdir."""
        return self.destdir / path.relative_to("/")

    def values(self) -> dict[str, str]:
        """Return what replaces @NAME@ in files."""
        return {
            "SBINDIR": str(self.prefix / "sbin"),
            "LIBEXECDIR": str(self.environment / "libexec"),
            "DATADIR": str(self.prefix / "share"),
        }


def completions(data: Path) -> dict[Path, tuple[Path, int]]:
    """List the shells' completions."""
    # zsh has a folder for the distribution's packages and one for the administrator's own.
    zsh = "zsh/vendor-completions" if data == Path("/usr/share") else "zsh/site-functions"
    files = {}
    for program in ("libvirtd", "virtvisorctl"):
        source = SOURCE / f"files/{program}"
        files[data / "bash-completion/completions" / program] = (
            source.with_suffix(".bash"),
            0o644,
        )
        files[data / zsh / f"_{program}"] = (source.with_suffix(".zsh"), 0o644)
    return files


def files_of(layout: Layout) -> dict[Path, tuple[Path, int]]:
    """List the files that are copied: by target the source and the mode."""
    data = layout.prefix / "share"
    files = {layout.units / unit: (SOURCE / "systemd" / unit, 0o644) for unit in UNITS}
    # systemd reads these of /usr/lib alone, and polkit of /usr/share and /etc.
    lib = Path("/usr/lib") if layout.prefix == Path("/usr") else Path("/etc")
    files |= {
        lib / "sysusers.d/virtvisor.conf": (SOURCE / "files/sysusers.conf", 0o644),
        lib / "tmpfiles.d/virtvisor.conf": (SOURCE / "files/tmpfiles.conf", 0o644),
        Path("/usr/share/polkit-1/actions/org.libvirt.unix.policy"): (
            SOURCE / "polkit/org.libvirt.unix.policy",
            0o644,
        ),
        Path("/usr/share/polkit-1/actions/org.libvirt.api.policy"): (
            SOURCE / "polkit/org.libvirt.api.policy",
            0o644,
        ),
        Path("/usr/share/polkit-1/rules.d/60-libvirt.rules"): (
            SOURCE / "polkit/60-libvirt.rules",
            0o644,
        ),
        # Not in /etc/default, where libvirt's own package has files by these names: the two would
        # ask the administrator whose is to stay.
        data / "doc/virtvisor/examples/libvirtd": (SOURCE / "files/libvirtd.default", 0o644),
        data / "doc/virtvisor/examples/libvirt-guests": (
            SOURCE / "files/libvirt-guests.default",
            0o644,
        ),
        **completions(data),
        layout.environment / "libexec/libvirt-guests": (SOURCE / "files/libvirt-guests", 0o755),
        data / "doc/virtvisor/README.md": (PROJECT / "README.md", 0o644),
        data / "doc/virtvisor/CHANGELOG.md": (PROJECT / "CHANGELOG.md", 0o644),
        data / "doc/virtvisor/copyright": (PROJECT / "LICENSE", 0o644),
    }
    for page in sorted((PROJECT / "docs").glob("*.md")):
        files[data / "doc/virtvisor" / page.name] = (page, 0o644)
    return files


def version() -> str:
    """Return the project's version."""
    data = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))
    return str(data["project"]["version"])


def write_man_pages(layout: Layout) -> None:
    """Write the manual pages, which are made of docs/."""
    for path, data in man_pages(version()).items():
        write(layout.at(layout.prefix / "share/man" / path), data, 0o644)


def copy_files(layout: Layout) -> None:
    """Copy what is no Python."""
    for target, (source, mode) in files_of(layout).items():
        place = layout.at(target)
        text = source.read_text(encoding="utf-8")
        if target.parent == layout.units:
            for name, value in layout.values().items():
                text = text.replace(f"@{name}@", value)
        write(place, text, mode)


def write_launchers(layout: Layout) -> None:
    """Write the programs, which run in the environment whatever the caller's is."""
    python = layout.environment / "bin/python3"
    for name, entry in PROGRAMS.items():
        module, _, function = entry.partition(":")
        text = LAUNCHER.format(python=python, module=module, function=function)
        write(layout.at(layout.prefix / name), text, 0o755)


def write(place: Path, content: str | bytes, mode: int) -> None:
    """Write a file through a temporary one, as a running daemon may be reading it."""
    place.parent.mkdir(parents=True, exist_ok=True)
    temporary = place.with_name(f".{place.name}.new")
    temporary.write_bytes(content if isinstance(content, bytes) else content.encode())
    temporary.chmod(mode)
    temporary.rename(place)


def make_environment(layout: Layout, python: str) -> None:
    """Make the virtual environment, beside the present one, and put it in its place.

    Raises:
        InstallError: a library cannot be had.
    """
    place = layout.at(layout.environment)
    fresh = place.with_name("virtvisor.new")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.parent.mkdir(parents=True, exist_ok=True)
    run(python, "-m", "venv", "--without-pip", str(fresh))
    pip = (sys.executable, "-m", "pip", "--python", str(fresh / "bin/python3"))
    options = ("--quiet", "--disable-pip-version-check", "--no-warn-script-location")
    run(*pip, "install", *options, str(PROJECT))
    for script in (fresh / "bin").iterdir():
        # pip's launchers name this folder; ours are in PREFIX/bin.
        if not script.name.startswith("python"):
            script.unlink()
    run(str(fresh / "bin/python3"), "-m", "compileall", "-q", str(fresh / "lib"))
    shutil.rmtree(place, ignore_errors=True)
    fresh.rename(place)


def run(*command: str) -> None:
    """Run a program.

    Raises:
        InstallError: it fails.
    """
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=BUILD_S, stdin=subprocess.DEVNULL
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise InstallError(f"{command[0]}: {error}") from error
    if done.returncode != 0:
        raise InstallError(f"{' '.join(command[:4])} …: {done.stderr.strip()[-2000:]}")


def announce() -> None:
    """Have the host's systemd make users and folders, and know the units."""
    for command in (
        ("systemd-sysusers",),
        ("systemd-tmpfiles", "--create", "--prefix=/run/libvirt", "--prefix=/var/lib/libvirt"),
        ("systemctl", "daemon-reload"),
    ):
        if shutil.which(command[0]) is None:
            print(f"install: {command[0]} is not there: without systemd, start libvirtd yourself")
            continue
        done = subprocess.run(command, timeout=COMMAND_S, check=False)
        if done.returncode != 0:
            print(f"install: {' '.join(command)} failed with {done.returncode}")


def install(layout: Layout, python: str) -> None:
    """Install everything.

    Raises:
        InstallError: a library cannot be had. OSError: a file cannot be written.
    """
    print(f"== Python environment in {layout.environment}")
    make_environment(layout, python)
    print("== programs, units, policies, documentation")
    copy_files(layout)
    write_man_pages(layout)
    write_launchers(layout)


def main(arguments: Sequence[str]) -> int:
    """Install; the exit status."""
    parser = argparse.ArgumentParser(prog="./dev install", description=__doc__.split("\n")[0])
    parser.add_argument("--prefix", type=Path, default=Path("/usr/local"), metavar="DIR")
    parser.add_argument(
        "--destdir", type=Path, default=Path("/"), metavar="DIR", help="stage below DIR"
    )
    parser.add_argument("--python", default="/usr/bin/python3", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.destdir == Path("/") and os.geteuid() != 0:
        parser.error("installing on this host needs root; --destdir stages it elsewhere")
    try:
        install(Layout(options.prefix, options.destdir.absolute()), options.python)
    except (InstallError, OSError) as error:
        sys.stderr.write(f"install: {error}\n")
        return 1
    if options.destdir == Path("/"):
        announce()
        print(f"== next: systemctl enable --now {' '.join(ENABLED)}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
