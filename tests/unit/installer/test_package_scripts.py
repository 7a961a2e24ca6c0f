"""The Debian package's maintainer scripts: which units are enabled over its life.

Debian's own deb-systemd-helper works on a folder, with DPKG_ROOT. systemd-sysusers alone is
replaced.
"""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from installer import deb
from installer.deb import scripts
from installer.install import InstallError, Layout, copy_files

ENABLED_LINKS = {
    "multi-user.target.wants/libvirt-guests.service",
    "multi-user.target.wants/libvirtd.service",
    "sockets.target.wants/libvirtd-admin.socket",
    "sockets.target.wants/libvirtd-ro.socket",
    "sockets.target.wants/libvirtd.socket",
}


class Package:
    """The package on a host that is a folder."""

    def __init__(self, folder: Path) -> None:
        """Put its scripts in place."""
        self.root = folder / "root"
        self._programs = folder / "programs"
        self._programs.mkdir()
        for name, text in scripts().items():
            (folder / name).write_text(text)
        sysusers = self._programs / "systemd-sysusers"
        sysusers.write_text("#!/bin/sh\n")
        sysusers.chmod(0o755)
        self._folder = folder

    def script(self, name: str, *arguments: str) -> None:
        """Run a maintainer script as dpkg does."""
        path = f"{self._programs}:/usr/sbin:/usr/bin:/sbin:/bin"
        dpkg = {"DPKG_ROOT": str(self.root), "DPKG_MAINTSCRIPT_PACKAGE": "virtvisor"}
        environment = {**os.environ, "PATH": path, **dpkg}
        command = ["sh", str(self._folder / name), *arguments]
        subprocess.run(command, env=environment, check=True, timeout=60)

    def unpack(self) -> None:
        """Put its files in place."""
        copy_files(Layout(Path("/usr"), self.root))

    def install(self) -> None:
        """Install it on a host that never had it."""
        self.unpack()
        self.script("postinst", "configure", "")

    def remove(self) -> None:
        """Remove it; what it has in /etc stays."""
        self.script("prerm", "remove")
        for unit in (self.root / "lib/systemd/system").iterdir():
            unit.unlink()
        self.script("postrm", "remove")

    def upgrade(self) -> None:
        """Install it anew, where dpkg knows a version that was configured before."""
        self.unpack()
        self.script("postinst", "configure", "0.1.0")

    def links(self) -> set[str]:
        """Return what is enabled."""
        folder = self.root / "etc/systemd/system"
        return {str(path.relative_to(folder)) for path in folder.glob("*/*") if path.is_symlink()}


@pytest.fixture
def package(tmp_path: Path) -> Package:
    made = Package(tmp_path)
    made.install()
    return made


def test_an_installation_enables_the_local_sockets_alone(package: Package) -> None:
    assert package.links() == ENABLED_LINKS


def test_what_is_removed_and_installed_again_is_enabled_again(package: Package) -> None:
    package.remove()
    package.upgrade()
    assert package.links() == ENABLED_LINKS


def test_an_upgrade_leaves_disabled_what_the_administrator_disabled(package: Package) -> None:
    guests = "multi-user.target.wants/libvirt-guests.service"
    (package.root / "etc/systemd/system" / guests).unlink()
    package.upgrade()
    assert package.links() == ENABLED_LINKS - {guests}


def test_purging_disables_every_unit(package: Package) -> None:
    wants = package.root / "etc/systemd/system/sockets.target.wants"
    (wants / "libvirtd-tls.socket").symlink_to("/lib/systemd/system/libvirtd-tls.socket")
    package.upgrade()
    package.remove()
    package.script("postrm", "purge")
    assert package.links() == set()


def test_purging_leaves_alone_debians_daemon_that_came_after_it(package: Package) -> None:
    package.remove()
    package.unpack()  # the same paths, of libvirt-daemon-system
    defaults = package.root / "etc/default/libvirtd"
    defaults.parent.mkdir()
    defaults.touch()
    package.script("postrm", "purge")
    assert package.links() == ENABLED_LINKS
    assert defaults.exists()


def test_the_output_folder_is_made_before_the_long_build(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "not/there"

    def install(layout: Layout, python: str) -> None:
        assert output.is_dir()
        raise InstallError("far enough")

    monkeypatch.setattr(deb, "install", install)
    with pytest.raises(InstallError, match="far enough"):
        deb.build(output)
