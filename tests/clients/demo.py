"""`./dev demo`: a real guest from definition to shutdown, through stock virsh.

Starts the daemon under a private root, and says every step and every command it runs.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path
from typing import Final

import pexpect

from tests.clients.daemon import VIRSH, Daemon
from tests.clients.guest import READY, Guest, build_guest

DOMAIN: Final = """<domain type='qemu'>
  <name>demo</name>
  <memory unit='MiB'>192</memory>
  <vcpu>1</vcpu>
  <os>
    <type arch='x86_64' machine='pc'>hvm</type>
    <kernel>{kernel}</kernel>
    <initrd>{initrd}</initrd>
    <cmdline>{cmdline}</cmdline>
  </os>
  <features><acpi/><apic/></features>
  <devices>
    <emulator>/usr/bin/qemu-system-x86_64</emulator>
    <serial type='pty'/>
    <console type='pty'/>
    <memballoon model='virtio'/>
  </devices>
</domain>
"""
BOOT_S: Final = 90
STOP_S: Final = 45


def say(text: str) -> None:
    """Print one line of progress at once."""
    sys.stdout.write(f"\033[1m== {text}\033[0m\n" if sys.stdout.isatty() else f"== {text}\n")
    sys.stdout.flush()


def virsh(daemon: Daemon, *words: str) -> None:
    """Show a virsh command, run it and let its output be seen."""
    say(f"virsh {' '.join(words)}")
    subprocess.run([VIRSH, "-c", daemon.uri, *words], check=True, timeout=60)


def boot_on_console(daemon: Daemon) -> None:
    """Start the guest with its console attached and show the boot up to the login prompt."""
    say("virsh start demo --console   (until the guest says it is ready)")
    console = pexpect.spawn(
        VIRSH,
        ["-c", daemon.uri, "start", "demo", "--console"],
        timeout=BOOT_S,
        encoding="utf-8",
        codec_errors="replace",
    )
    console.logfile_read = sys.stdout
    console.expect(READY)
    console.expect("login: ")
    console.sendline("root")
    console.expect("# ")
    console.sendline("uname -a")
    console.expect("# ")
    console.send("\x1d")  # Ctrl-]: virsh leaves the console
    console.expect(pexpect.EOF)
    console.close()


def shut_down_on_console(daemon: Daemon) -> None:
    """Attach to the console, press the power button and watch until the guest is off."""
    say("virsh console demo   (until the guest has powered off)")
    console = pexpect.spawn(
        VIRSH,
        ["-c", daemon.uri, "console", "demo"],
        timeout=STOP_S,
        encoding="utf-8",
        codec_errors="replace",
    )
    console.logfile_read = sys.stdout
    console.expect("Escape character")
    virsh(daemon, "shutdown", "demo")
    console.expect(pexpect.EOF)
    console.close()
    until = time.monotonic() + STOP_S
    while daemon.ok("domstate", "demo").strip() != "shut off":
        if time.monotonic() > until:
            raise TimeoutError(f"the guest did not power off in {STOP_S} s")


def story(daemon: Daemon, guest: Guest) -> None:
    """Define, boot, look, shut down, undefine."""
    xml = daemon.root / "demo.xml"
    xml.write_text(DOMAIN.format(kernel=guest.kernel, initrd=guest.initrd, cmdline=guest.cmdline))
    virsh(daemon, "define", str(xml))
    boot_on_console(daemon)
    virsh(daemon, "list", "--all")
    virsh(daemon, "dominfo", "demo")
    virsh(daemon, "domstats", "demo")
    shut_down_on_console(daemon)
    virsh(daemon, "list", "--all")


def main() -> int:
    """Run the demo; with --keep the daemon stays until Enter is pressed."""
    parser = argparse.ArgumentParser(prog="./dev demo", description=__doc__)
    parser.add_argument("--keep", action="store_true", help="leave the daemon up until Enter")
    options = parser.parse_args()
    began = time.monotonic()
    say("starting the daemon under a private root")
    with Daemon() as daemon:
        say(f"ready after {time.monotonic() - began:.1f} s; its processes:")
        subprocess.run(
            [Path(sys.executable).with_name("virtvisorctl"), "--root", daemon.root, "status"],
            check=True,
            timeout=20,
        )
        say("building a tiny guest: Debian's cloud kernel and a busybox initramfs")
        story(daemon, build_guest(daemon.root / "guest"))
        say(
            f"done in {time.monotonic() - began:.0f} s. To connect a virsh of your own to a daemon:"
        )
        say("  .venv/bin/libvirtd --root /tmp/my &")
        say("  virsh -c 'qemu+unix:///system?socket=/tmp/my/run/libvirt/libvirt-sock' list --all")
        if options.keep:
            say(f"this one answers at: virsh -c '{daemon.uri}'   (Enter ends it)")
            sys.stdin.readline()
    return 0


if __name__ == "__main__":
    sys.exit(main())
