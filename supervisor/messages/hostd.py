"""What other services ask of hostd."""

from __future__ import annotations

import msgspec

from conf.emulator import EmulatorFacts
from ipc import Request


class EmulatorProbed(msgspec.Struct, frozen=True, kw_only=True):
    """What the binary can do."""

    facts: EmulatorFacts


class CpuContext(msgspec.Struct, frozen=True, kw_only=True):
    """The one domain that facts are wanted for: the rest of them is left out."""

    virt_type: str
    machine: str
    cpu: str  # the model that the document names; "": none


class ProbeEmulator(Request[EmulatorProbed], frozen=True, kw_only=True, tag="hostd.probe"):
    """domd or a worker: what can this emulator do? Answered from the cache within 50 ms.

    Errors: SYSTEM_ERROR when the binary is not there, CONFIG_UNSUPPORTED for an architecture that
    no emulator serves, INTERNAL_ERROR when the binary cannot be probed.
    """

    deadline_s = 15.0
    binary: str = ""  # "": the one for the architecture
    arch: str = ""  # "": the host's
    purpose: CpuContext | None = None  # a worker's: all facts would fill its memory for good
