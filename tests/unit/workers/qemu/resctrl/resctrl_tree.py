"""A resctrl file system in a directory: a new group has its files, and takes them along."""

from __future__ import annotations

import shutil
from pathlib import Path, PosixPath

CACHE_BYTES = 32 << 20  # of each of two caches, in 16 parts


class ResctrlFolder(PosixPath):
    """A directory of the file system."""

    def mkdir(self, mode: int = 0o777, parents: bool = False, exist_ok: bool = False) -> None:
        """Make a group."""
        super().mkdir(mode, parents, exist_ok)
        fill_group(self)

    def rmdir(self) -> None:
        """Remove a group."""
        if not self.is_dir():
            raise FileNotFoundError(str(self))
        shutil.rmtree(self)


def fill_group(folder: Path) -> None:
    """Make the files of a group."""
    (folder / "tasks").write_text("")
    (folder / "schemata").write_text("")
    Path(folder / "mon_groups").mkdir()
    for number, used in ((1, 7), (0, 5)):
        bank = Path(folder / f"mon_data/mon_L3_{number:02}")
        bank.mkdir(parents=True)
        (bank / "llc_occupancy").write_text(f"{used}\n")
        (bank / "mbm_total_bytes").write_text(f"{used * 100}\n")
        (bank / "mbm_local_bytes").write_text(f"{used * 10}\n")


def resctrl_tree(folder: Path, default: str = "0fff") -> tuple[ResctrlFolder, Path]:
    """Make a host with two caches, each with the first bits of its mask in use by all.

    Returns:
        The file system's root, and the folder of the host's CPUs.
    """
    root, cpus = ResctrlFolder(folder / "resctrl"), folder / "cpus"
    Path(root).mkdir()
    fill_group(root)
    files = {
        "info/L3/cbm_mask": "ffff",
        "info/L3/min_cbm_bits": "2",
        "info/MB/bandwidth_gran": "10",
        "info/MB/min_bandwidth": "20",
        "info/L3_MON/mon_features": "llc_occupancy\nmbm_total_bytes\nmbm_local_bytes\n",
        "schemata": f"    L3:0={default};1=00ff\n    MB:0=100;1=100\n",
    }
    for name, text in files.items():
        path = Path(root / name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    for number in (0, 1):
        index = cpus / f"cpu{number}/cache/index3"
        index.mkdir(parents=True)
        for name, text in (("level", "3"), ("id", f"{number}"), ("size", "32768K")):
            (index / name).write_text(f"{text}\n")
    return root, cpus
