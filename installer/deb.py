"""Builds the Debian package: `./dev package [--output DIR]`.

Owns: the package's control files. May touch: the output folder, a temporary one.

The package holds its Python libraries, compiled ones among them: it is for the release of Debian
(the version of Python) that it was built on, and needs no network to be installed.
"""

from __future__ import annotations

import argparse
import platform
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from installer.install import ENABLED, UNITS, InstallError, Layout, install, version

#: Packages whose files these are, too: Debian's daemon and ours are never there together.
REPLACED: Final = (
    "libvirt-daemon",
    "libvirt-daemon-system",
    "libvirt-daemon-system-systemd",
    "libvirt-daemon-system-sysv",
    "libvirt-daemon-common",
    "libvirt-daemon-driver-qemu",
    "libvirt-daemon-driver-lxc",
)
DEPENDS: Final = (
    "qemu-utils",
    "iproute2",
    "procps",
    "dnsmasq-base",
    "nftables | iptables",
    "libsasl2-2",
    "systemd | systemd-standalone-sysusers",
)
#: systemd-container has machined. libvirt's package brings it, and its daemon then ends guests that
#: were started without.
RECOMMENDS: Final = (
    "libvirt-clients",
    "qemu-system-x86 | qemu-system",
    "polkitd",
    "lvm2",
    "systemd-container",
)
SUGGESTS: Final = ("lxc", "swtpm-tools", "nfs-common", "open-iscsi", "libsasl2-modules")
POSTINST: Final = """\
#!/bin/sh
set -e
case "$1" in configure | abort-upgrade | abort-deconfigure | abort-remove) ;; *) exit 0 ;; esac
systemd-sysusers ${DPKG_ROOT:+"--root=$DPKG_ROOT"} virtvisor.conf
# Debian's helper knows over upgrades and removals what the administrator has disabled.
for unit in {enabled}; do
    deb-systemd-helper unmask "$unit" >/dev/null || true
    if deb-systemd-helper --quiet was-enabled "$unit"; then
        deb-systemd-helper enable "$unit" >/dev/null || true
    else
        deb-systemd-helper update-state "$unit" >/dev/null || true
    fi
done
for unit in {optional}; do
    deb-systemd-helper update-state "$unit" >/dev/null || true
done
if [ -z "${DPKG_ROOT:-}" ] && [ -d /run/systemd/system ]; then
    systemd-tmpfiles --create virtvisor.conf || true
    systemctl --system daemon-reload || true
    deb-systemd-invoke start {sockets} || true
    # Guests stay: the unit's KillMode ends the daemon alone.
    deb-systemd-invoke restart libvirtd.service || true
    # Only what was started is stopped at the host's end, and saves guests then.
    deb-systemd-invoke start libvirt-guests.service || true
fi
"""
PRERM: Final = """\
#!/bin/sh
set -e
[ "$1" = remove ] || exit 0
if [ -z "${DPKG_ROOT:-}" ] && [ -d /run/systemd/system ]; then
    # Not libvirt-guests: its stop would save the guests, which run on.
    deb-systemd-invoke stop {sockets} {optional} libvirtd.service || true
fi
"""
#: Definitions, images and users are the administrator's: purging removes what was made alone. Units
#: that are there are those of Debian's daemon, which has come back in the meantime.
POSTRM: Final = """\
#!/bin/sh
set -e
if [ -z "${DPKG_ROOT:-}" ] && [ -d /run/systemd/system ]; then
    systemctl --system daemon-reload || true
fi
if [ "$1" = purge ] && [ ! -e "${DPKG_ROOT:-}/lib/systemd/system/libvirtd.service" ]; then
    rm -rf "${DPKG_ROOT:-}/var/cache/libvirt/qemu/capabilities"
    deb-systemd-helper purge {enabled} {optional} >/dev/null || true
fi
"""
BUILD_S: Final = 900.0


def control(python: tuple[int, int], architecture: str, size_kib: int) -> str:
    """Write the package's description.

    Args:
        python: the version that its libraries were compiled for.
        architecture: Debian's name of the processor's.
        size_kib: of the installed files.
    """
    major, minor = python
    depends = (f"python3 (>= {major}.{minor})", f"python3 (<< {major}.{minor + 1})", *DEPENDS)
    replaced = ", ".join(REPLACED)
    return f"""\
Package: virtvisor
Version: {version()}
Architecture: {architecture}
Maintainer: virtvisor developers <virtvisor@localhost>
Installed-Size: {size_kib}
Depends: {", ".join(depends)}
Recommends: {", ".join(RECOMMENDS)}
Suggests: {", ".join(SUGGESTS)}
Provides: libvirt-daemon-system
Conflicts: {replaced}
Replaces: {replaced}
Section: admin
Priority: optional
Description: virtualization daemon for QEMU, KVM and LXC that speaks libvirt's protocol
 A libvirtd made of small processes: one for each guest, for networks, storage and
 clients. Stock virsh, virt-manager and libvirt's bindings work with it unchanged.
"""


def scripts() -> dict[str, str]:
    """Return the maintainer scripts."""
    enabled = ("libvirtd.service", *ENABLED, "libvirt-guests.service")
    words = {
        "{sockets}": ENABLED,
        "{enabled}": enabled,
        "{optional}": tuple(unit for unit in UNITS if unit not in enabled),
    }
    texts = {"postinst": POSTINST, "prerm": PRERM, "postrm": POSTRM}
    for word, units in words.items():
        texts = {name: text.replace(word, " ".join(units)) for name, text in texts.items()}
    return texts


def build(output: Path) -> Path:
    """Build the package.

    Raises:
        InstallError, OSError: it cannot be built.
    """
    output.mkdir(parents=True, exist_ok=True)  # before what takes a minute
    with tempfile.TemporaryDirectory(prefix="virtvisor-deb-") as name:
        tree = Path(name) / "tree"
        layout = Layout(Path("/usr"), tree)
        install(layout, "/usr/bin/python3")
        folder = tree / "DEBIAN"
        folder.mkdir()
        size = sum(path.lstat().st_size for path in tree.rglob("*") if path.is_file())
        architecture = _output("dpkg", "--print-architecture")
        python = _output("/usr/bin/python3", "-c", "import sys; print(*sys.version_info[:2])")
        major, minor = (int(number) for number in python.split())
        (folder / "control").write_text(control((major, minor), architecture, size // 1024))
        for script, text in scripts().items():
            (folder / script).write_text(text)
            (folder / script).chmod(0o755)
        package = output / f"virtvisor_{version()}_{architecture}.deb"
        _output("dpkg-deb", "--root-owner-group", "-Zxz", "--build", str(tree), str(package))
    return package


def _output(*command: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=BUILD_S)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise InstallError(f"{command[0]}: {error}") from error
    if done.returncode != 0:
        raise InstallError(f"{command[0]}: {done.stderr.strip()}")
    return done.stdout.strip()


def main(arguments: Sequence[str]) -> int:
    """Build; the exit status."""
    parser = argparse.ArgumentParser(prog="./dev package", description=__doc__.split("\n")[0])
    parser.add_argument("--output", type=Path, default=Path.cwd(), metavar="DIR")
    options = parser.parse_args(arguments)
    try:
        package = build(options.output)
    except (InstallError, OSError) as error:
        sys.stderr.write(f"package: {error}\n")
        return 1
    release = platform.freedesktop_os_release().get("PRETTY_NAME", "this system")
    print(f"== {package}, for {release}: apt install {package}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
