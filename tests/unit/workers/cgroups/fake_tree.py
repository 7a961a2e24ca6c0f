"""A tree of cgroups as the kernel makes one, in a directory: a new group has its files at once."""

from __future__ import annotations

from pathlib import Path, PosixPath
from typing import Final

from supervisor.workers.cgroups.hierarchies import UNIFIED, Layout

V1_FILES: Final = {
    "cpu": {"cpu.shares": "1024", "cpu.cfs_period_us": "100000", "cpu.cfs_quota_us": "-1"},
    "cpuset": {"cpuset.cpus": "", "cpuset.mems": ""},
    "memory": {
        "memory.limit_in_bytes": "9223372036854771712",
        "memory.soft_limit_in_bytes": "9223372036854771712",
        "memory.memsw.limit_in_bytes": "9223372036854771712",
    },
    "blkio": {"blkio.bfq.weight": "100"},
    "devices": {"devices.allow": "", "devices.deny": "", "devices.list": "a *:* rwm"},
    "cpuacct": {"cpuacct.usage": "30", "cpuacct.stat": "user 1\nsystem 2"},
}
V2_FILES: Final = {
    "cpu": {"cpu.weight": "100", "cpu.max": "max 100000"},
    "cpuset": {"cpuset.cpus": "", "cpuset.mems": ""},
    "memory": {"memory.max": "max", "memory.high": "max", "memory.swap.max": "max"},
    "io": {"io.weight": "default 100", "io.max": ""},
}
V2_CORE: Final = {
    "cgroup.procs": "",
    "cgroup.threads": "",
    "cgroup.type": "domain",
    "cgroup.subtree_control": "",
    "cpu.stat": "usage_usec 30\nuser_usec 10\nsystem_usec 20",
}


class V1Folder(PosixPath):
    """A directory of version 1: the hierarchy's name is that of its root, `v1-CONTROLLER`."""

    def mkdir(self, mode: int = 0o777, parents: bool = False, exist_ok: bool = False) -> None:
        """Make it with its files."""
        new = not self.exists()
        super().mkdir(mode, parents, exist_ok)
        if new:
            controller = next(part for part in self.parts if part.startswith("v1-"))[3:]
            for name, text in {**V1_FILES[controller], "cgroup.procs": "", "tasks": ""}.items():
                (self / name).write_text(text)


class V2Folder(PosixPath):
    """A directory of version 2; its controllers are those that its parent has enabled."""

    def mkdir(self, mode: int = 0o777, parents: bool = False, exist_ok: bool = False) -> None:
        """Make it with its files."""
        new = not self.exists()
        super().mkdir(mode, parents, exist_ok)
        if new:
            enabled = _enabled(self.parent)
            fill_v2(self, enabled)

    def write_text(self, data: str, *args: object, **kwargs: object) -> int:
        """Write a file; a controller that is enabled gives the groups below its files."""
        if self.name == "cgroup.subtree_control" and data.startswith("+"):
            enabled = [*_enabled(self.parent), data[1:]]
            for below in self.parent.iterdir():
                if below.is_dir():
                    fill_v2(below, [data[1:]])
                    Path(below / "cgroup.controllers").write_text(" ".join(enabled))
            data = " ".join(enabled)
        return super().write_text(data)


def _enabled(folder: Path) -> list[str]:
    return (folder / "cgroup.subtree_control").read_text().split()


def fill_v2(folder: Path, controllers: list[str]) -> None:
    """Make the files of a group of version 2."""
    files = dict(V2_CORE) if not (folder / "cgroup.procs").exists() else {}
    files["cgroup.controllers"] = " ".join(controllers)
    for controller in controllers:
        files |= V2_FILES.get(controller, {})
    for name, text in files.items():
        with (folder / name).open("w") as file:
            file.write(text)


def v1_layout(root: Path, *controllers: str) -> Layout:
    """Make hierarchies of version 1."""
    hierarchies: dict[str, Path] = {}
    for controller in controllers or tuple(V1_FILES):
        folder = V1Folder(root / f"v1-{controller}")
        folder.mkdir()
        if controller == "cpuset":
            (folder / "cpuset.cpus").write_text("0-3\n")
            (folder / "cpuset.mems").write_text("0\n")
        hierarchies[controller] = folder
    return Layout(hierarchies)


def v2_layout(root: Path, *controllers: str) -> Layout:
    """Make a hierarchy of version 2, which may have no controllers."""
    folder = V2Folder(root / "v2")
    PosixPath(folder).mkdir()
    fill_v2(folder, list(controllers))
    return Layout({UNIFIED: folder})


def hybrid_layout(root: Path) -> Layout:
    """Make every controller's hierarchy of version 1, and one of version 2 without any."""
    return Layout({**v1_layout(root).hierarchies, **v2_layout(root).hierarchies})
