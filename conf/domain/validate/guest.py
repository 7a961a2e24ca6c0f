"""Checks of a completed domain as a whole, whatever the hypervisor.

Owns: these checks. Pure: a domain is read, never changed.
Source: libvirt 9.0 virDomainDefValidateInternal, which comes after the emulator's own checks.
"""

from __future__ import annotations

from typing import Final

from conf.domain.model import Domain
from conf.domain.tuning import Cputune, HugePage
from conf.domain.validate.firmware import check_chosen_firmware
from conf.errors import ConfError
from conf.types.cpuset import parse_cpuset
from conf.types.repeats import first_repeated

UNSUPPORTED: Final = "config_unsupported"
#: Bounds of the kernel's cgroup v1, which libvirt holds to with version 2, too.
SHARES: Final = (2, 262144)
PERIOD: Final = (1000, 1_000_000)  # microseconds
QUOTA: Final = (1000, 17592186044415)
SCOPES: Final = ("", "global_", "emulator_", "iothread_")


def check_guest(domain: Domain) -> None:
    """Refuse parts that contradict each other.

    Raises:
        ConfError: "config_unsupported"; "xml_detail"; "xml".
    """
    _check_iommu(domain)
    _check_huge_pages(domain)
    check_chosen_firmware(domain.os)
    if domain.cputune is not None:
        _check_cputune(domain.cputune)
    _check_shared_folders(domain)


def _check_iommu(domain: Domain) -> None:
    driver = domain.devices.iommu.driver if domain.devices.iommu else None
    if driver is None:
        return
    ioapic = domain.features.ioapic if domain.features else None
    if driver.intremap and ioapic != "qemu":
        detail = "IOMMU interrupt remapping requires split I/O APIC (ioapic driver='qemu')"
        raise ConfError(UNSUPPORTED, detail, "domain/devices/iommu/driver/@intremap")
    if driver.eim and not driver.intremap:
        detail = "IOMMU eim requires interrupt remapping to be enabled"
        raise ConfError(UNSUPPORTED, detail, "domain/devices/iommu/driver/@eim")


def _check_huge_pages(domain: Domain) -> None:
    backing = domain.memory_backing
    path = "domain/memoryBacking/hugepages/page"
    cells = domain.cpu.numa.cells if domain.cpu and domain.cpu.numa else []
    owners: dict[int, HugePage] = {}
    main: HugePage | None = None
    for page in backing.hugepages.pages if backing and backing.hugepages else ():
        if page.nodeset is None:
            if main is not None:
                detail = f"two master hugepages detected: {page.size} and {main.size}"
                raise ConfError("xml_detail", detail, path)
            main = page
            continue
        nodes = sorted(parse_cpuset(page.nodeset))
        for node in nodes:
            if node in owners:
                detail = (
                    f"nodeset attribute of hugepages of sizes {page.size} and "
                    f"{owners[node].size} intersect"
                )
                raise ConfError("xml_detail", detail, f"{path}/@nodeset")
            owners[node] = page
        # A guest without cells has its memory in one that no document names: number 0.
        absent = next((node for node in nodes if node >= (len(cells) or 1)), None)
        if absent is not None:
            detail = f"hugepages: node {absent} not found"
            raise ConfError("xml_detail", detail, f"{path}/@nodeset")


def _check_cputune(tune: Cputune) -> None:
    bounds = {"shares": SHARES}
    bounds.update({f"{scope}period": PERIOD for scope in SCOPES})
    bounds.update({f"{scope}quota": QUOTA for scope in SCOPES})
    for name, (low, high) in bounds.items():
        value = getattr(tune, name)
        if value is not None and value > 0 and not low <= value <= high:
            detail = f"Value of cputune '{name}' must be in range [{low}, {high}]"
            raise ConfError(UNSUPPORTED, detail, f"domain/cputune/{name}")


def _check_shared_folders(domain: Domain) -> None:
    targets = [
        item.target_dir for item in domain.devices.filesystems if item.driver_type == "virtiofs"
    ]
    twice = first_repeated(targets)
    if twice is not None:
        detail = f"filesystem target '{twice}' specified twice"
        raise ConfError(UNSUPPORTED, detail, "domain/devices/filesystem/target")
