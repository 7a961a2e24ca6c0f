"""The command line of a domain that is not started, as virConnectDomainXMLToNative prints it.

Owns: what stands for all that only a start chooses: id, ports, descriptors, taps.
May touch: hostd and stord, to ask; files, to read. Nothing on the host changes.

Its directories are those of no guest, for it has no id. They are named as by a daemon without
--root, so that the text is the same wherever it was made.
Source: libvirt 9.0, qemuConnectDomainXMLToNative, qemuProcessCreatePretendCmdPrepare, measured.
"""

from __future__ import annotations

import re
from typing import Final

from conf.domain import Domain, parse_domain
from conf.domain.addresses.assign import assign_addresses
from conf.domain.devices.disk_defaults import complete_live_cache
from conf.domain.devices.interface import Interface
from conf.emulator import EmulatorFacts
from conf.settings import QemuConfig
from supervisor.images.firmware_descriptors import read_descriptors
from supervisor.runtime import scsi_devices
from supervisor.runtime.paths import Paths
from supervisor.workers.context import WorkerContext
from supervisor.workers.qemu.aliases import assign_aliases
from supervisor.workers.qemu.argv.launch import plan_launch
from supervisor.workers.qemu.argv.launch_inputs import Launch, LaunchInputs
from supervisor.workers.qemu.argv.secret_encryption import encryptor, new_master_key
from supervisor.workers.qemu.block import disk_secrets
from supervisor.workers.qemu.block.disk_sources import resolve_volumes
from supervisor.workers.qemu.block.passed_images import NO_GROUPS, require_groups
from supervisor.workers.qemu.external import swtpm, vhost_user_gpu
from supervisor.workers.qemu.start import live_xml
from supervisor.workers.qemu.start.custom_capabilities import apply_capabilities
from supervisor.workers.qemu.start.firmware import fill_firmware
from supervisor.workers.qemu.start.guest_cpu import probe_for
from supervisor.workers.qemu.start.hugepages import find_hugepages
from supervisor.workers.qemu.start.numad import refuse_without_advice
from supervisor.workers.qemu.start.qemu_process import with_config
from supervisor.workers.running_guest import new_status

NO_ID: Final = -1
FIRST_FD: Final = 30  # of the taps, which nobody opens
#: The ports where one is to be chosen; those of QEMU before libvirt looks for a free one.
PORTS: Final = {"VNC": 5900, "SPICE": 5901, "SPICE TLS": 5902, "VNC WebSocket": -1}
QUOTED: Final = re.compile(r"[\r\t\n !\"#$&'()*;<>?\[\\\]^`{|}~]")
#: The properties of -machine that libvirt 9.0 writes as options, and where those stand.
HPET_OFF, ACPI_OFF, NO_SHUTDOWN = ",hpet=off", ",acpi=off", "-no-shutdown"
OPTIONS_REMOVED_IN: Final = (9, 0)


async def plan_native(context: WorkerContext, xml: str) -> str:
    """Plan the command line and write it as a shell takes it.

    Raises:
        ConfError, VirError: the domain could not be started.
    """
    domain = parse_domain(xml)
    domain.id = NO_ID
    require_groups(domain.devices.disks, NO_GROUPS)
    if domain.os.firmware is not None:
        directories = context.paths.firmware_descriptors(session=context.session)
        fill_firmware(domain, read_descriptors(directories), context.paths.nvram(domain.name))
    for disk in domain.devices.disks:
        complete_live_cache(disk)
    make_interfaces_ethernet(domain)
    facts = apply_capabilities(domain, await probe_for(context, domain))
    assign_addresses(domain, facts)
    assign_aliases(domain)
    refuse_without_advice(domain)
    vhost_user_gpu.refuse(domain, context.paths.vhost_user_descriptors(session=context.session))
    await resolve_volumes(context.node.link("stord"), domain.devices.disks)
    paths = context.paths
    if not context.session:
        paths = Paths.system().for_driver(context.driver.name)
    folder = paths.domain_dir(NO_ID, domain.name)
    live_xml.fill_graphics(domain, context.config, folder, lambda _, purpose: PORTS[purpose])
    live_xml.copy_serial_to_console(domain)
    sources = disk_secrets.domain_sources(domain)
    secrets = await disk_secrets.fetch(context.node.link("hostd"), sources)
    inputs = pretended_inputs(paths, context.config, domain, secrets)
    return shell_line(spell_as_libvirt(plan_launch(domain, facts, inputs), facts))


def make_interfaces_ethernet(domain: Domain) -> None:
    """Reduce each interface to what does not depend on the host's networks."""
    domain.devices.interfaces = [
        Interface(
            type="ethernet",
            mac_element=interface.mac_element,
            model=interface.model,
        )
        for interface in domain.devices.interfaces
    ]


def pretended_inputs(
    paths: Paths, config: QemuConfig, domain: Domain, secrets: dict[str, bytes]
) -> LaunchInputs:
    """Make what a start would bring, without opening or making anything."""
    name = domain.name
    status = new_status(domain, NO_ID, "")
    hugepages = find_hugepages(config)
    interfaces = domain.devices.interfaces
    socket = str(paths.swtpm_socket(NO_ID, name))
    inputs = LaunchInputs(
        id=NO_ID,
        domain_dir=str(paths.domain_dir(NO_ID, name)),
        channel_dir=str(paths.channels(NO_ID, name)),
        memory_dir=str(paths.memory_dir(NO_ID, name, config.memory_backing_dir)),
        tap_fds={item.alias or "": (FIRST_FD + n,) for n, item in enumerate(interfaces)},
        vsock_fd=-1,
        tpm_sockets={tpm.alias or "": socket for tpm in swtpm.emulated(domain)},
        scsi_generic=scsi_devices.generic_nodes(domain),
        secrets=secrets,
        hugepage_dirs=hugepages.guest_dirs(status),
        default_hugepage=hugepages.default_kib,
        encrypt=encryptor(new_master_key()),
        now=status.started_at,
    )
    return with_config(inputs, config)


def spell_as_libvirt(launch: Launch, facts: EmulatorFacts) -> Launch:
    """Write as options what is planned as properties of -machine, where QEMU has both.

    libvirt 9.0 writes -no-acpi and -no-hpet, which QEMU 9 has no more.
    """
    words = [without_readonly_value(word) for word in launch.argv]
    if facts.version[:2] >= OPTIONS_REMOVED_IN or "-machine" not in words:
        return Launch(tuple(words), launch.environ, launch.fds)
    machine = words.index("-machine") + 1
    for prop, option, after in ((HPET_OFF, "-no-hpet", 0), (ACPI_OFF, "-no-acpi", 1)):
        if prop in words[machine] and NO_SHUTDOWN in words:
            words[machine] = words[machine].replace(prop, "", 1)
            words.insert(words.index(NO_SHUTDOWN) + after, option)
    return Launch(tuple(words), launch.environ, launch.fds)


def without_readonly_value(word: str) -> str:
    """Write a read-only folder in libvirt's old short form."""
    folder = word.startswith(("local,", "handle,")) and ",id=fsdev-" in word
    return word.removesuffix("=on") if folder and word.endswith(",readonly=on") else word


def shell_line(launch: Launch) -> str:
    """Write environment and arguments in one line, quoted for a shell."""
    assignments = (f"{name}={quote(value)}" for name, value in launch.environ.items())
    return " ".join((*assignments, *map(quote, launch.argv)))


def quote(word: str) -> str:
    """Quote a word if a shell would read more in it than its text."""
    if word and not QUOTED.search(word):
        return word
    return "'" + word.replace("'", "'\\''") + "'"
