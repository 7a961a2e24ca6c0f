"""<cpu> XML of comparison and baseline.

Owns: parsing the input and formatting the result. May not touch: files, QEMU.
Source: libvirt 9.0 virConnectCompareCPU, virConnectBaselineCPU.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from lxml import etree

from rpc.errors import ErrorCode, ErrorDomain, VirError
from supervisor.hostd.capabilities.xml_writer import Element, group, write
from supervisor.hostd.cpu.models import Cpu, Models

MAX_DOCUMENT = 1 << 20  # bytes: a <cpu> has a few hundred features at most


@dataclass(frozen=True, slots=True)
class CpuXml:
    """A parsed <cpu>."""

    arch: str
    match: str  # "minimum", "exact", "strict"; "" without the attribute
    model: str
    vendor: str
    features: tuple[tuple[str, str], ...]  # (policy, name); a host <cpu> has no policies


def read_cpu(xml: str) -> CpuXml:
    """Parse a <cpu>.

    Raises:
        VirError: XML_DETAIL for malformed XML, XML_ERROR for another element.
    """
    if len(xml) > MAX_DOCUMENT:
        raise cpu_error(ErrorCode.XML_ERROR, "the CPU document is too large")
    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False)
    try:
        root = etree.fromstring(xml.encode(), parser)
    except (etree.XMLSyntaxError, ValueError) as error:
        raise cpu_error(ErrorCode.XML_DETAIL, f"(CPU_definition): {error}") from None
    if root.tag != "cpu":
        raise cpu_error(ErrorCode.XML_ERROR, "XML does not contain expected 'cpu' element")
    if root.get("match") and root.find("arch") is not None:
        detail = "'arch' element cannot be used inside 'cpu' element with 'match' attribute"
        raise cpu_error(ErrorCode.XML_ERROR, detail)
    features = tuple((f.get("policy", "require"), f.get("name", "")) for f in root.iter("feature"))
    return CpuXml(
        arch=root.findtext("arch", "").strip(),
        match=root.get("match", ""),
        model=root.findtext("model", "").strip(),
        vendor=root.findtext("vendor", "").strip(),
        features=features,
    )


def guest_features(
    document: CpuXml, models: Models, all_features: frozenset[str]
) -> frozenset[str]:
    """Return the features of a guest with this CPU, without forbidden ones.

    Args:
        document: the CPU.
        models: of its architecture.
        all_features: every known feature.

    Raises:
        VirError: INTERNAL_ERROR for an unknown model or feature.
    """
    model = models.get(document.model)
    if model is None:
        raise cpu_error(ErrorCode.INTERNAL_ERROR, f"Unknown CPU model {document.model}")
    features = set(model.features)
    for policy, name in document.features:
        if name not in all_features:
            raise cpu_error(ErrorCode.INTERNAL_ERROR, f"Unknown CPU feature {name}")
        if policy in ("require", "force"):
            features.add(name)
        elif policy in ("disable", "forbid"):
            features.discard(name)
    return frozenset(features)


def write_cpu(cpu: Cpu, *, expand: Sequence[str] | None = None) -> str:
    """Format a custom CPU.

    Args:
        cpu: the model and its differences.
        expand: list these features instead of the differences (EXPAND_FEATURES).
    """
    require = cpu.require if expand is None else expand
    rows: list[Element] = [group("feature", policy="require", name=name) for name in require]
    rows += [group("feature", policy="disable", name=name) for name in cpu.disable]
    vendor: Element | None = ("vendor", {}, cpu.vendor) if cpu.vendor else None
    model: Element = ("model", {"fallback": "forbid"}, cpu.model)
    return write(group("cpu", model, vendor, *rows, mode="custom", match="exact"))


def cpu_error(code: ErrorCode, detail: str) -> VirError:
    """Make an error of the CPU driver."""
    return VirError(code, detail, ErrorDomain.CPU)
