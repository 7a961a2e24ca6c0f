"""What the document may say and QEMU, or virtvisor so far, does not do: refused, never dropped.

Owns: the list of refusals at start; areas refuse what is theirs themselves.
May touch: values only.

Not here, because the worker acts on them and not the command line: <cputune>, <blkiotune>,
<memtune>, <resource>, <seclabel>, <on_poweroff> and its kin, pinning of every kind.
"""

from __future__ import annotations

from collections.abc import Iterator

from conf.domain.model import Domain
from conf.errors import ConfError
from supervisor.workers.qemu.argv.launch_inputs import Context


def refuse(context: Context) -> None:
    """Check the domain for what no area acts on.

    Raises:
        ConfError: "config_unsupported", naming the first such element; "operation_failed": no
            firmware can be chosen; "internal": a placement needs numad.
    """
    domain = context.domain
    _refuse_firmware(domain)
    _refuse_numad(domain)
    for what in (*_whole(domain), *_features(domain), *_devices(domain)):
        raise ConfError(
            "config_unsupported", f"{what} cannot be acted on yet; remove it to start the domain"
        )


def _refuse_firmware(domain: Domain) -> None:
    """Firmware is chosen before planning: a loader then stands in the domain."""
    chosen = domain.os.loader is not None and bool((domain.os.loader.path or "").strip())
    if domain.os.firmware is not None and not chosen:
        raise ConfError(
            "operation_failed",
            f"Unable to find any firmware to satisfy '{domain.os.firmware}'; name one in "
            "<loader> and its variables in <nvram>",
        )


def _refuse_numad(domain: Domain) -> None:
    memory = domain.numatune.memory if domain.numatune else None
    if memory is not None and memory.placement == "auto":
        raise ConfError(
            "internal",
            "Advice from numad is needed in case of automatic numa placement; give a nodeset "
            "instead of placement='auto'",
        )


def _whole(domain: Domain) -> Iterator[str]:
    """Elements of the domain itself."""
    if domain.launch_security is not None:
        yield "<launchSecurity>"
    if domain.keywrap is not None:
        yield "<keywrap>"
    if any(event.enabled for event in domain.perf):
        yield "<perf>"
    if domain.fibre_channel_app is not None:
        yield "<fibrechannel appid=>"
    if domain.qemu_override is not None and domain.qemu_override.devices:
        yield "<qemu:override>"
    if domain.qemu_capabilities is not None:
        yield "<qemu:capabilities>"
    if domain.os.smbios_mode == "host":
        yield "<smbios mode='host'/>"


def _features(domain: Domain) -> Iterator[str]:
    """Hypervisor features of other architectures, and those without an option."""
    features = domain.features
    if features is None:
        return
    for name, value in (
        ("gic", features.gic),
        ("hpt", features.hpt_resizing),
        ("htm", features.htm),
        ("nested-hv", features.nested_hv),
        ("ccf-assist", features.ccf_assist),
        ("cfpc", features.cfpc),
        ("sbbc", features.sbbc),
        ("ibs", features.ibs),
        ("async-teardown", features.async_teardown),
    ):
        if value is not None:
            yield f"<{name}> in <features>"


def _devices(domain: Domain) -> Iterator[str]:
    """Devices without an area."""
    if domain.devices.nvram is not None:
        yield "<nvram> among the devices"
    for interface in domain.devices.interfaces:
        if interface.type == "hostdev":
            yield "<interface type='hostdev'>"
