"""The whole plan: every area's options in libvirt's order.

Owns: the order, and the environment.
May touch: values only.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from conf.domain.model import Domain
from conf.emulator import EmulatorFacts
from supervisor.workers.qemu.argv import (
    audio,
    char_devices,
    clock,
    controllers,
    cpu,
    disk,
    display,
    filesystem,
    firmware,
    host_devices,
    inputs,
    machine,
    memory,
    network,
    shared_memory,
    small_devices,
    smartcard,
    tpm,
    usb,
)
from supervisor.workers.qemu.argv.device_override import overridden
from supervisor.workers.qemu.argv.launch_inputs import Context, Launch, LaunchInputs, Options

ORDER: Final[tuple[Callable[[Context], Options], ...]] = (
    machine.identity,
    disk.reservation_helper,
    firmware.flash_nodes,
    machine.machine,
    cpu.accelerator,
    firmware.management_memory,
    cpu.cpu,
    firmware.security,
    firmware.bios,
    memory.amount,
    memory.overcommit,
    cpu.smp,
    memory.numa,
    machine.iothreads,
    machine.uuid,
    small_devices.generation_id,
    firmware.smbios,
    firmware.fw_cfg,
    machine.defaults,
    machine.serial_bios,
    machine.monitor,
    clock.real_time_clock,
    machine.power,
    machine.boot,
    small_devices.iommu,
    controllers.global_options,
    controllers.controllers,
    memory.devices,
    usb.hubs,
    controllers.ccid_controllers,
    disk.disks,
    filesystem.filesystems,
    network.interfaces,
    smartcard.smartcards,
    char_devices.serials,
    char_devices.parallels,
    char_devices.channels,
    char_devices.consoles,
    tpm.tpms,
    inputs.inputs,
    audio.backends,
    display.displays,
    display.videos,
    audio.sounds,
    small_devices.watchdogs,
    usb.redirdevs,
    host_devices.host_devices,
    machine.incoming,
    small_devices.balloon,
    small_devices.rngs,
    small_devices.core_info,
    machine.user_arguments,
    machine.sandbox,
    small_devices.panics,
    shared_memory.shmems,
    small_devices.vsock,
    machine.log,
)


def plan_launch(domain: Domain, facts: EmulatorFacts, runtime: LaunchInputs) -> Launch:
    """Plan the start of a completed domain: addresses and aliases are assigned, ports chosen.

    Raises:
        ConfError: "config_unsupported": an element that this QEMU cannot do; the message names it.
    """
    context = Context(domain, facts, runtime)
    values = [facts.binary if domain.devices.emulator is None else domain.devices.emulator]
    for area in ORDER:
        for option in area(context):
            values += overridden(option, domain.qemu_override)
    return Launch(tuple(values), environment(context), runtime.inherited())


def environment(context: Context) -> dict[str, str]:
    """Build QEMU's environment: HOME and the XDG directories are in the domain's directory."""
    home = context.inputs.domain_dir
    environ = {
        "LC_ALL": "C",
        "PATH": context.inputs.path,
        "HOME": home,
        "XDG_DATA_HOME": f"{home}/.local/share",
        "XDG_CACHE_HOME": f"{home}/.cache",
        "XDG_CONFIG_HOME": f"{home}/.config",
    }
    for graphics in context.domain.devices.graphics:
        if graphics.type == "sdl":
            environ |= {
                name: value
                for name, value in (("XAUTHORITY", graphics.xauth), ("DISPLAY", graphics.display))
                if value
            }
    for audio_backend in context.domain.devices.audios:
        if audio_backend.type == "sdl" and audio_backend.driver:
            environ["SDL_AUDIODRIVER"] = audio_backend.driver
    clock = context.domain.clock
    if clock is not None and clock.offset == "timezone" and clock.timezone:
        environ["TZ"] = clock.timezone
    commandline = context.domain.qemu_commandline
    for variable in commandline.variables if commandline else ():
        environ[variable.name] = variable.value or ""
    return environ
