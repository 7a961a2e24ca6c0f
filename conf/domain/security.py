"""<seclabel>, <keywrap>, <launchSecurity>: how a guest is kept apart from others and the host.

Source: libvirt 9.0 formatdomain, "Security label", "Key Wrap", "Launch Security".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from conf.errors import ConfError
from conf.mapper import attribute, children, element, text
from conf.types.bool import on_off, write_on_off, yes_no
from conf.types.enum import one_of
from conf.types.integer import hexadecimal, unsigned, unsigned_any


@element("seclabel")
@dataclass(slots=True, kw_only=True)
class Seclabel:
    """<seclabel> of a domain."""

    type: str | None = attribute("@type", read=one_of("dynamic", "static", "none"))
    model: str | None = attribute("@model")
    relabel: bool | None = attribute("@relabel", read=yes_no)
    label: str | None = text("label")
    imagelabel: str | None = text("imagelabel", only="live")
    baselabel: str | None = text("baselabel")

    def after_read(self) -> None:
        """Keep what counts for the type, and say whether files are relabelled.

        Raises:
            ConfError: "config_unsupported": the type and relabel= contradict each other.
        """
        if self.model == "none":
            self.type, self.relabel = "none", None
        if self.type == "none" and self.relabel:
            detail = "resource relabeling is not compatible with 'none' label type"
            raise ConfError("config_unsupported", detail, "seclabel/@relabel")
        if self.type == "dynamic" and self.relabel is False:
            detail = "dynamic label type must use resource relabeling"
            raise ConfError("config_unsupported", detail, "seclabel/@relabel")
        if self.type == "none":
            self.label = self.imagelabel = self.baselabel = self.relabel = None
        elif self.type is not None and self.relabel is None:
            self.relabel = self.type == "dynamic"


def check_seclabels(labels: Sequence[Seclabel]) -> None:
    """Refuse labels that cannot be, or not together.

    Raises:
        ConfError: "xml"; "xml_detail": two labels of one model.
    """
    seen: set[str | None] = set()
    for label in labels:
        if label.type == "static" and not label.label:
            raise ConfError("xml", "security label is missing", "domain/seclabel/label")
        if label.model in seen:
            detail = f"seclabel for model {label.model or '(null)'} is already provided"
            raise ConfError("xml_detail", detail, "domain/seclabel/@model")
        seen.add(label.model)
    if len(labels) > 1 and None in seen:
        detail = "missing security model when using multiple labels"
        raise ConfError("xml", detail, "domain/seclabel/@model")


@element("cipher")
@dataclass(slots=True, kw_only=True)
class Cipher:
    """<cipher>: whether a mainframe guest's keys of a kind are wrapped."""

    name: str = attribute("@name", read=one_of("aes", "dea"), required=True, default="aes")
    state: bool = attribute("@state", read=on_off, write=write_on_off, required=True, default=False)


@element("keywrap", omit_empty=True)
@dataclass(slots=True, kw_only=True)
class Keywrap:
    """<keywrap>."""

    ciphers: list[Cipher] = children("cipher", Cipher)


@element("launchSecurity")
@dataclass(slots=True, kw_only=True)
class LaunchSecurity:
    """<launchSecurity>: memory that the host cannot read; the rest of it is AMD SEV's."""

    type: str = attribute("@type", read=one_of("sev", "s390-pv"), required=True, default="sev")
    kernel_hashes: bool | None = attribute("@kernelHashes", read=yes_no)
    cbitpos: int | None = text("cbitpos", read=unsigned)
    reduced_phys_bits: int | None = text("reducedPhysBits", read=unsigned)
    policy: int | None = text("policy", read=unsigned_any, write=hexadecimal(4))
    dh_cert: str | None = text("dhCert")
    session: str | None = text("session")


PERF_EVENTS: Final = (
    "cmt", "mbmt", "mbml", "cpu_cycles", "instructions", "cache_references",
    "cache_misses", "branch_instructions", "branch_misses", "bus_cycles",
    "stalled_cycles_frontend", "stalled_cycles_backend", "ref_cpu_cycles", "cpu_clock",
    "task_clock", "page_faults", "context_switches", "cpu_migrations",
    "page_faults_min", "page_faults_maj", "alignment_faults", "emulation_faults",
)  # fmt: skip


@element("event")
@dataclass(slots=True, kw_only=True)
class PerfEvent:
    """<event> of <perf>: a counter of the host's that is kept for the guest."""

    name: str = attribute("@name", read=one_of(*PERF_EVENTS), required=True, default="")
    enabled: bool = attribute("@enabled", read=yes_no, required=True, default=False)
