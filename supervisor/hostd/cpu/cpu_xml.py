"""The <cpu> documents that comparing and baselines take and give.

Owns: reading one, and writing the answer. May not touch: files, QEMU.
Source: libvirt 9.0 virConnectCompareCPU, virConnectBaselineCPU.
"""

from __future__ import annotations

from dataclasses import dataclass

from lxml import etree

from rpc.errors import ErrorCode, ErrorDomain, VirError
from supervisor.hostd.capabilities.xml_writer import Element, group, write
from supervisor.hostd.cpu.models import Cpu, Models

MAX_DOCUMENT = 1 << 20  # bytes: a <cpu> has a few hundred features at most


@dataclass(frozen=True, slots=True)
class CpuXml:
    """What a client wrote about a CPU."""

    arch: str
    match: str  # "minimum", "exact", "strict"; "" when it did not say
    model: str
    vendor: str
    features: tuple[tuple[str, str], ...]  # (policy, name); a host's document has no policies


def read_cpu(xml: str) -> CpuXml:
    """Read a document, or the <cpu> of a whole domain or capabilities document.

    Raises:
        VirError: XML_DETAIL when it is no XML, XML_ERROR when it is no <cpu>.
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
    """What a guest with this CPU would have; forbidden features are not counted.

    Args:
        document: the CPU.
        models: the models it may name.
        all_features: every feature that there is.

    Raises:
        VirError: INTERNAL_ERROR for a model or feature that does not exist.
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


def write_cpu(cpu: Cpu, *, expand: frozenset[str] | None = None) -> str:
    """Write a custom CPU.

    Args:
        cpu: the model and its differences.
        expand: when given, all of these features are named.
    """
    require = sorted(cpu.require if expand is None else expand)
    rows: list[Element] = [group("feature", policy="require", name=name) for name in require]
    rows += [group("feature", policy="disable", name=name) for name in sorted(cpu.disable)]
    vendor: Element | None = ("vendor", {}, cpu.vendor) if cpu.vendor else None
    model: Element = ("model", {"fallback": "forbid"}, cpu.model)
    return write(group("cpu", model, vendor, *rows, mode="custom", match="exact"))


def cpu_error(code: ErrorCode, detail: str) -> VirError:
    """An error of the CPU driver."""
    return VirError(code, detail, ErrorDomain.CPU)
