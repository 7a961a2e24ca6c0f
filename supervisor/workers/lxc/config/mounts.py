"""lxc.rootfs and lxc.mount settings: the root, file systems, device nodes.

Owns: these lines. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator

from conf.domain import Domain
from conf.domain.devices.filesystem import Filesystem
from supervisor.workers import usb_devices
from supervisor.workers.lxc.config.host_facts import HostFacts
from supervisor.workers.lxc.config.text import mount_field, setting

PATH = "domain/devices/filesystem"


def root_filesystem(domain: Domain) -> Filesystem | None:
    """Find the file system with <target dir='/'/>; None: the container has the host's root."""
    return next((fs for fs in domain.devices.filesystems if fs.target_dir == "/"), None)


def filesystem_source(filesystem: Filesystem, facts: HostFacts) -> str:
    """Locate a file system's files on the host."""
    if filesystem.type in ("file", "block"):
        return facts.mount_points[filesystem.target_dir or ""]
    return facts.mount_points.get(filesystem.target_dir or "", filesystem.source_path or "")


def root_lines(domain: Domain, facts: HostFacts) -> Iterator[str]:
    """Write the settings of the root file system (lxc.rootfs.*)."""
    root = root_filesystem(domain)
    source = filesystem_source(root, facts) if root is not None else "/"
    yield setting("lxc.rootfs.path", f"dir:{source}", f"{PATH}/source")
    yield "lxc.rootfs.managed = 0"
    if root is not None and root.readonly:
        yield "lxc.rootfs.options = ro"


def mount_lines(domain: Domain, facts: HostFacts) -> Iterator[str]:
    """Write the mount entries of file systems below the root, lxcfs and device nodes."""
    below = [fs for fs in domain.devices.filesystems if fs.target_dir != "/"]
    for filesystem in below:
        yield f"lxc.mount.entry = {_entry(filesystem, facts)}"
    for name, path in facts.lxcfs.items():
        place = mount_field(f"proc/{name}", "domain")
        yield f"lxc.mount.entry = {mount_field(path, 'domain')} {place} none bind,optional"
    for source, target in node_paths(domain):
        place = mount_field(target.lstrip("/"), "domain/devices")
        node = mount_field(facts.nodes.get(source, source), "domain/devices")
        yield f"lxc.mount.entry = {node} {place} none bind,create=file"


def _entry(filesystem: Filesystem, facts: HostFacts) -> str:
    target = mount_field((filesystem.target_dir or "").strip("/"), f"{PATH}/target")
    create = "file" if filesystem.source_path in facts.files else "dir"
    mode = ",ro" if filesystem.readonly else ""
    if filesystem.type == "ram":
        options = f"size={filesystem.usage}k,mode=755,nosuid,nodev{mode},create=dir"
        return f"tmpfs {target} tmpfs {options}"
    source = filesystem_source(filesystem, facts)
    if filesystem.type == "bind":  # source and target are both in the container
        inside = mount_field(source.strip("/"), f"{PATH}/source")
        return f"{inside} {target} none bind,relative,create={create}{mode}"
    return f"{mount_field(source, f'{PATH}/source')} {target} none rbind{mode},create={create}"


def node_paths(domain: Domain) -> Iterator[tuple[str, str]]:
    """List the container's host devices: the paths of their nodes on the host and in it."""
    for disk in domain.devices.disks:
        source = disk.source.dev if disk.source is not None else None
        if source:
            yield source, f"/dev/{disk.target.dev}"
    for hostdev in domain.devices.hostdevs:
        if usb_node := usb_devices.node(hostdev):
            yield usb_node, usb_node
        node = hostdev.source.block if hostdev.type == "storage" else hostdev.source.char
        if hostdev.mode == "capabilities" and node:
            yield node, node
