"""Requests to hostd: capabilities of emulators, values of secrets.

Clients' calls on secrets are `supervisor.messages.calls.ClientRequest`.
"""

from __future__ import annotations

import msgspec

from conf.emulator import EmulatorFacts
from ipc import Request


class EmulatorProbed(msgspec.Struct, frozen=True, kw_only=True):
    """The capabilities of an emulator."""

    facts: EmulatorFacts
    cpu: str = ""  # the <cpu> with which the domain is started; "": as it is


class CpuContext(msgspec.Struct, frozen=True, kw_only=True):
    """The domain for which capabilities are requested: those of other machines are left out."""

    virt_type: str
    machine: str
    cpu: str  # model and features of its <cpu>; "": it has none


class ProbeEmulator(Request[EmulatorProbed], frozen=True, kw_only=True, tag="hostd.probe_emulator"):
    """Get the capabilities of an emulator; a cached reply takes up to 50 ms.

    Errors: SYSTEM_ERROR when the binary does not exist, CONFIG_UNSUPPORTED for an architecture that
    no emulator serves, INTERNAL_ERROR when probing fails; of its CPU: CONFIG_UNSUPPORTED,
    CPU_INCOMPATIBLE, INTERNAL_ERROR for an unknown model.
    """

    deadline_s = 15.0
    binary: str = ""  # "": the one for the architecture
    arch: str = ""  # "": the host's
    purpose: CpuContext | None = None  # a worker's: all facts would enlarge it for its whole life


class CpuText(msgspec.Struct, frozen=True, kw_only=True):
    """A <cpu>, without topology, cells and cache."""

    cpu: str


class UpdateCpu(Request[CpuText], frozen=True, kw_only=True, tag="hostd.update_cpu"):
    """Name the model and features that a definition's <cpu> leaves to the host.

    Errors: as `ProbeEmulator`.
    """

    deadline_s = 15.0
    binary: str
    arch: str
    virt_type: str
    cpu: str


class CpuidWord(msgspec.Struct, frozen=True, kw_only=True):
    """The bits of one register that CPUID answers with."""

    leaf: int  # EAX of the query
    subleaf: int  # ECX of the query
    register: str  # "eax", "ebx", "ecx" or "edx"
    bits: int


class DescribeLiveCpu(Request[CpuText], frozen=True, kw_only=True, tag="hostd.describe_live_cpu"):
    """Name the features by which the CPU of a QEMU that has just started differs from its <cpu>.

    Errors: OPERATION_FAILED: check='full' is asked for, and there are some.
    """

    deadline_s = 5.0
    arch: str
    cpu: str  # with which it was started
    enabled: list[CpuidWord]
    filtered: list[CpuidWord]  # that it could not provide


class SecretValue(msgspec.Struct, frozen=True, kw_only=True):
    """A secret's value; the repr hides it from logs."""

    value: bytes

    def __repr__(self) -> str:
        return "SecretValue(value=…)"


class GetSecret(Request[SecretValue], frozen=True, kw_only=True, tag="hostd.get_secret"):
    """Get the value of a secret, private or not; sent by stord and workers.

    Errors: NO_SECRET when it does not exist or has no value; INVALID_ARG when its usage type
    differs; OPERATION_DENIED for other senders.
    """

    deadline_s = 5.0
    usage_type: str  # the use: "volume", "iscsi", "ceph", "tls", "vtpm"
    uuid: str = ""  # one of uuid and usage names it
    usage: str = ""
