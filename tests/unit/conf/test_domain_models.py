"""Models of domains: what is written reads as it was."""

from __future__ import annotations

import dataclasses
import importlib
from typing import Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from model_strategies import models

from conf.mapper import Mode, parse, write

MODULES: Final = ("tuning", "cpu", "features", "clock", "os", "security", "resctrl")
MODES: Final = st.builds(Mode, live=st.just(value=True), secure=st.just(value=True))


def mapped_classes() -> list[type]:
    found: list[type] = []
    for name in MODULES:
        module = importlib.import_module(f"conf.domain.{name}")
        found.extend(
            item
            for item in vars(module).values()
            if dataclasses.is_dataclass(item)
            and isinstance(item, type)
            and item.__module__ == module.__name__
            and hasattr(item, "__element__")
        )
    return found


@pytest.mark.parametrize("model", mapped_classes(), ids=lambda model: str(model.__name__))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_what_is_written_reads_as_it_was(model: type, data: st.DataObject) -> None:
    original = data.draw(models(model))
    written = write(original, Mode(live=True, secure=True))
    assert parse(model, written) == original
