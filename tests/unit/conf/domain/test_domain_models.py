"""Models of domains: what is written reads as it was."""

from __future__ import annotations

import dataclasses
import importlib
import re
from typing import Final

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from conf.mapper import NAMESPACES, Mode, parse, write
from tests.unit.conf.domain.model_strategies import models

MODULES: Final = (
    "tuning", "cpu", "features", "clock", "lxc.model", "os", "security", "resctrl", "model",
    "devices.address", "devices.addressing", "devices.audio", "devices.chardev", "devices.devices",
    "devices.controller", "devices.disk", "devices.filesystem", "devices.graphics",
    "devices.hostdev", "devices.hub", "devices.input", "devices.interface", "devices.iommu",
    "devices.lease", "devices.memballoon", "devices.memory", "devices.nvram", "devices.panic",
    "devices.redirdev", "devices.rng", "devices.shmem", "devices.smartcard", "devices.sound",
    "devices.source", "devices.tpm", "devices.video", "devices.virtio", "devices.vsock",
    "devices.watchdog",
)  # fmt: skip


def mapped_classes() -> list[type]:
    result: list[type] = []
    for name in MODULES:
        module = importlib.import_module(f"conf.domain.{name}")
        result.extend(
            item
            for item in vars(module).values()
            if dataclasses.is_dataclass(item)
            and isinstance(item, type)
            and item.__module__ == module.__name__
            and hasattr(item, "__element__")
        )
    return result


# Of a rejected draw Hypothesis notes the strategy, which is as large as the models are.
@pytest.mark.filterwarnings("ignore:Generating overly large repr")
@pytest.mark.parametrize("model", mapped_classes(), ids=lambda model: str(model.__name__))
# A model of many parts is refused for any of them.
@settings(max_examples=25, suppress_health_check=[HealthCheck.filter_too_much])
@given(data=st.data())
def test_what_is_written_reads_as_it_was(model: type, data: st.DataObject) -> None:
    original = data.draw(models(model))
    written = write(original, Mode(live=True, secure=True))
    assume(written.strip())  # else the element is left out
    tag, rest = re.split(r"(?=[ />])", written, maxsplit=1)
    declared = "".join(f" xmlns:{name}='{NAMESPACES[name]}'" for name in ("qemu", "lxc"))
    namespaces = f"{tag}{declared}{rest}"  # as a whole domain has them
    assert parse(model, namespaces) == original
