"""Proves the installed service on a machine with systemd: `./dev prove SUITE [STEP …]`.

Owns: the order of the steps, which are the scripts in `steps/`. May touch: the project, to build
the package of it; everything else happens inside the machine.

It takes an hour and more under emulation, so it is no part of `./dev test`. The machine's clock
stands still while the host works on something else (`host.CLOCK`): the times that are printed are
those of a processor with 500 million instructions a second, whatever the host's load.
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

from tests.integration.debian.release import CACHE as CHECKOUT_CACHE
from tests.integration.debian.release import Release, ReleaseError
from tests.integration.rig.kernel import RigError
from tests.integration.rig.machine import Shape
from tests.integration.rig.scripts import HOST
from tests.integration.service.host import ServiceHost

STEPS: Final = Path(__file__).with_name("steps")
REBOOT: Final = "reboot"  # a step without a script
ORDER: Final = (
    "install", "who", "guests", "restart", "apparmor", "before-reboot", REBOOT, "after-reboot",
    "package",
)  # fmt: skip
TAKEOVER: Final = "takeover"  # on a machine that has libvirt's daemon
STEP_S: Final = 7200.0
BUILD_S: Final = 1800
SHAPE: Final = Shape(cpus=1, memory_mib=4096)


def package_for(suite: str, folder: Path) -> Path:
    """Build the package on the release that it is for.

    Raises:
        RigError, ReleaseError: it cannot be built; the message says why.
    """
    build = ["-m", "installer.deb", "--output", str(folder)]
    if platform.freedesktop_os_release().get("VERSION_CODENAME") == suite:
        done = subprocess.run(
            [sys.executable, *build], capture_output=True, text=True, timeout=BUILD_S, check=False
        )
        status, output = done.returncode, done.stdout + done.stderr
    else:
        release = Release(suite)
        release.make()
        ended = release.run([".venv/bin/python", *build], BUILD_S)
        status, output = ended.status, ended.output
    if status != 0:
        raise RigError(f"the package for {suite}: {output[-2000:]}")
    return next(folder.glob("virtvisor_*.deb"))


def hand_over(package: Path, folder: Path) -> None:
    """Put the package into a machine's folder, not packed: unpacking it there takes minutes."""
    with tempfile.TemporaryDirectory() as name:
        tree = Path(name) / "tree"
        subprocess.run(["dpkg-deb", "-R", str(package), str(tree)], check=True, timeout=BUILD_S)
        words = ["dpkg-deb", "-Znone", "--root-owner-group", "--build", str(tree)]
        subprocess.run([*words, str(folder / package.name)], check=True, timeout=BUILD_S)


def say(text: str) -> None:
    """Print it at once: the next step may take half an hour."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def script(step: str, words: Sequence[str]) -> str:
    """Return a step's whole script.

    Args:
        step: its name.
        words: settings, NAME=VALUE each.
    """
    parts = [f"HOST={HOST}", *words, (STEPS / "common.sh").read_text()]
    return "\n".join([*parts, (STEPS / f"{step}.sh").read_text(), "exit $wrong\n"])


def prove(suite: str, steps: Sequence[str], package: Path | None, words: Sequence[str]) -> bool:
    """Boot a machine and do the steps; whether all was as it should be.

    Raises:
        RigError: the machine does not come up, or crashes.
    """
    CHECKOUT_CACHE.mkdir(exist_ok=True)
    right, libvirt = True, TAKEOVER in steps
    with tempfile.TemporaryDirectory(dir=CHECKOUT_CACHE) as name:
        made = package or package_for(suite, Path(name))
        with ServiceHost(suite, SHAPE, libvirt=libvirt) as host:
            hand_over(made, host.shared)
            for step in steps:
                say(f"== {step}")
                if step == REBOOT:
                    host.reboot()
                    continue
                status, output = host.run(script(step, words), STEP_S)
                say(output.rstrip())
                right = right and status == 0
    return right


def main(arguments: Sequence[str]) -> int:
    """Prove it; the exit status."""
    parser = argparse.ArgumentParser(prog="./dev prove", description=__doc__.split("\n")[0])
    parser.add_argument("suite", choices=("bookworm", "trixie"))
    parser.add_argument("step", nargs="*", help=f"without any: {' '.join(ORDER)}; or {TAKEOVER}")
    parser.add_argument("--package", type=Path, help="do not build one, take this")
    parser.add_argument("--guests", type=int, default=20)
    options = parser.parse_args(arguments)
    unknown = {*options.step} - {*ORDER, TAKEOVER}
    if unknown:
        parser.error(f"no such step: {' '.join(sorted(unknown))}")
    if TAKEOVER in options.step and options.step != [TAKEOVER]:
        parser.error(f"{TAKEOVER} has a machine of its own")
    steps = options.step or ORDER
    try:
        right = prove(options.suite, steps, options.package, [f"GUESTS={options.guests}"])
    except (RigError, ReleaseError) as error:
        sys.stderr.write(f"prove: {error}\n")
        return 1
    say("== all right" if right else "== WRONG: see above")
    return 0 if right else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
