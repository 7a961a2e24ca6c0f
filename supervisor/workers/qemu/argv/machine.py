"""Options that belong to no device: name, machine, QMP monitor, power, boot, sandbox.

Owns: these options. The clock is `clock.py`, the firmware `firmware.py`.
May touch: values only.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from supervisor.workers.qemu.argv import audio, clock, firmware
from supervisor.workers.qemu.argv.launch_inputs import MASTER_KEY, Context, Options, Props, obj
from supervisor.workers.qemu.argv.memory import default_ram_id, has_hmat
from supervisor.workers.qemu.argv.syntax import Option as Value
from supervisor.workers.qemu.argv.syntax import comma, json_of, on_off, options_of

#: Architectures whose machines have the property `acpi`.
ACPI_ARCHITECTURES: Final = ("x86_64", "i686", "aarch64", "armv7l")


#: What QEMU does with deprecated commands and properties, by <qemu:deprecation>; libvirt ignores
#: other words.
DEPRECATION: Final[dict[str | None, Props]] = {
    "omit": {"deprecated-output": "hide"},
    "reject": {"deprecated-output": "hide", "deprecated-input": "reject"},
    "crash": {"deprecated-output": "hide", "deprecated-input": "crash"},
}


def identity(context: Context) -> Options:
    """Build -name, -compat, -S (the vcpus start at `cont`) and the master key of secrets."""
    name = comma(context.domain.name)
    process = f"process=qemu:{name}," if context.inputs.names_process else ""
    yield "-name", f"guest={name},{process}debug-threads=on"
    deprecation = context.domain.qemu_deprecation
    behavior = deprecation.behavior if deprecation is not None else None
    if behavior in DEPRECATION:
        yield "-compat", json_of(DEPRECATION[behavior])
    yield ("-S",)
    yield obj(
        {
            "qom-type": "secret",
            "id": MASTER_KEY,
            "format": "raw",
            "file": context.inputs.master_key_file,
        }
    )


def machine(context: Context) -> Options:
    """Build -machine and its properties."""
    features = context.domain.features
    backing = context.domain.memory_backing
    parts = [context.machine, "usb=off"]
    if features is not None and features.vmport is not None:
        parts.append(f"vmport={on_off(features.vmport)}")
    if features is not None and features.smm is not None and features.smm.state is not None:
        parts.append(f"smm={on_off(features.smm.state)}")
    if features is not None and features.ioapic is not None:
        parts.append(f"kernel_irqchip={'split' if features.ioapic == 'qemu' else 'on'}")
    parts.append(f"dump-guest-core={on_off(bool(context.domain.memory_dump_core))}")
    if backing is not None and backing.nosharepages:
        parts.append("mem-merge=off")
    if any(device.model == "nvdimm" for device in context.domain.devices.memories):
        parts.append("nvdimm=on")
    if has_hmat(context):
        parts.append("hmat=on")
    ram_id = default_ram_id(context)
    if ram_id is not None:
        parts.append(f"memory-backend={ram_id}")
    parts += firmware.machine_parts(context)
    speaker = audio.speaker_backend(context)
    if speaker is not None:
        parts.append(f"pcspk-audiodev={speaker}")
    parts += _disabled(context)
    yield "-machine", ",".join(parts)


def _disabled(context: Context) -> Iterator[str]:
    """Build the properties of -machine that switch off what the guest is not to have.

    QEMU has them since 5.1 and 6.0; QEMU 9 has removed the options -no-hpet and -no-acpi.
    """
    features = context.domain.features
    if clock.disables_hpet(context):
        yield "hpet=off"
    if (features is None or not features.acpi) and context.facts.arch in ACPI_ARCHITECTURES:
        yield "acpi=off"
    if _has_serial_bios(context) and not context.facts.has_device("sga"):
        yield "graphics=off"  # the BIOS itself has the serial console since QEMU 7.1


def uuid(context: Context) -> Options:
    """Build -uuid."""
    yield "-uuid", str(context.domain.uuid)


def defaults(context: Context) -> Options:
    """Keep QEMU from adding default devices and reading its own configuration files."""
    if not context.domain.devices.graphics:
        yield "-display", "none"
    yield ("-no-user-config",)
    yield ("-nodefaults",)


def serial_bios(context: Context) -> Options:
    """Add SGABIOS, which copies the BIOS output to the serial port."""
    if _has_serial_bios(context) and context.facts.has_device("sga"):
        yield "-device", '{"driver":"sga"}'


def _has_serial_bios(context: Context) -> bool:
    bios = context.domain.os.bios
    return bios is not None and bool(bios.useserial)


def monitor(context: Context) -> Options:
    """Build the QMP monitor on a socket in the domain's directory."""
    where = {"path": context.inputs.monitor_socket}
    if context.inputs.monitor_fd is not None:
        where = {"fd": str(context.inputs.monitor_fd)}
    members: dict[str, Value] = {"id": "charmonitor", **where, "server": True, "wait": False}
    yield "-chardev", options_of(("socket",), members)
    yield "-mon", "chardev=charmonitor,id=monitor,mode=control"


def power(context: Context) -> Options:
    """Build the options of shutdown and sleep states (S3, S4)."""
    yield ("-no-shutdown",)
    pm = context.domain.pm
    if pm is None:
        return
    chip = "ICH9-LPC" if context.is_q35 else "PIIX4_PM"
    if pm.suspend_to_mem is not None:
        yield "-global", f"{chip}.disable_s3={int(not pm.suspend_to_mem)}"
    if pm.suspend_to_disk is not None:
        yield "-global", f"{chip}.disable_s4={int(not pm.suspend_to_disk)}"


def boot(context: Context) -> Options:
    """Build -boot, and the kernel that QEMU loads itself."""
    os = context.domain.os
    parts = []
    if os.bootmenu is not None:
        parts.append(f"menu={on_off(bool(os.bootmenu.enable))}")
        if os.bootmenu.enable and os.bootmenu.timeout is not None:
            parts.append(f"splash-time={os.bootmenu.timeout}")
    if os.bios is not None and os.bios.reboot_timeout is not None:
        parts.append(f"reboot-timeout={os.bios.reboot_timeout}")
    parts.append("strict=on")
    yield "-boot", ",".join(parts)
    if os.kernel is not None:
        yield "-kernel", os.kernel
    if os.initrd is not None:
        yield "-initrd", os.initrd
    if os.cmdline is not None:
        yield "-append", os.cmdline
    if os.dtb is not None:
        yield "-dtb", os.dtb
    if os.slic is not None:
        yield "-acpitable", options_of((), {"sig": "SLIC", "file": os.slic})


def sandbox(context: Context) -> Options:
    """Build -sandbox: the system calls that QEMU gives up."""
    if context.inputs.seccomp:
        yield (
            "-sandbox",
            ("on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"),
        )


def log(context: Context) -> Options:
    """Enable time stamps in QEMU's log."""
    yield "-msg", "timestamp=on"


def incoming(context: Context) -> Options:
    """Build -incoming: QEMU waits for state from a save image or another host."""
    if context.inputs.incoming:
        yield "-incoming", context.inputs.incoming
    elif context.inputs.load_snapshot:
        yield "-loadvm", context.inputs.load_snapshot


def user_arguments(context: Context) -> Options:
    """Append the arguments of <qemu:commandline> unchanged."""
    extra = context.domain.qemu_commandline
    for argument in extra.arguments if extra else ():
        yield (argument.value,)


def iothreads(context: Context) -> Options:
    """Build the I/O threads, and the thread pool of QEMU's main loop."""
    for thread in context.domain.iothread_list():
        yield obj(
            {
                "qom-type": "iothread",
                "id": f"iothread{thread.id}",
                "thread-pool-min": thread.thread_pool_min,
                "thread-pool-max": thread.thread_pool_max,
            }
        )
    default = context.domain.default_iothread
    if default is not None:
        yield obj(
            {
                "qom-type": "main-loop",
                "id": "main-loop",
                "thread-pool-min": default.thread_pool_min,
                "thread-pool-max": default.thread_pool_max,
            }
        )
