"""Which model names a set of CPU features."""

from __future__ import annotations

import pytest

from supervisor.hostd.cpu.feature_names import from_kernel, from_qemu
from supervisor.hostd.cpu.models import Comparison, Cpu, Model, Models, baseline, compare

OLD = Model("old", "", frozenset({"sse", "sse2"}))
NEW = Model("new", "Intel", frozenset({"sse", "sse2", "avx", "avx2"}))
OTHER = Model("other", "AMD", frozenset({"sse", "sse2", "avx", "sse4a"}))
MODELS = Models([OLD, NEW, OTHER])


def test_the_model_with_the_fewest_differences_is_chosen() -> None:
    cpu = MODELS.describe(frozenset({"sse", "sse2", "avx", "avx2", "sha-ni"}), "Intel")
    assert cpu == Cpu("new", "Intel", ("sha-ni",), ())


def test_a_model_of_another_vendor_is_not_chosen() -> None:
    cpu = MODELS.describe(NEW.features, "AMD")
    assert cpu is not None
    assert cpu.model == "old"


def test_a_described_cpu_has_just_the_features_described() -> None:
    features = frozenset({"sse", "avx", "popcnt"})
    cpu = MODELS.describe(features, "Intel")
    assert cpu is not None
    assert MODELS.features(cpu) == features


@pytest.mark.parametrize(
    ("guest", "strict", "expected"),
    [
        ({"sse"}, False, Comparison.SUPERSET),
        ({"sse"}, True, Comparison.INCOMPATIBLE),
        ({"sse", "sse2"}, True, Comparison.IDENTICAL),
        ({"avx"}, False, Comparison.INCOMPATIBLE),
    ],
)
def test_a_host_gives_a_guest_what_it_has(
    guest: set[str], strict: bool, expected: Comparison
) -> None:
    assert compare(OLD.features, frozenset(guest), strict=strict) is expected


def test_a_baseline_is_what_all_have_and_may_leave_out_what_cannot_move() -> None:
    sets = [NEW.features | {"invtsc"}, OTHER.features | {"invtsc"}]
    assert baseline(sets, migratable=False) == {"sse", "sse2", "avx", "invtsc"}
    assert baseline(sets, migratable=True) == {"sse", "sse2", "avx"}


def test_kernel_and_qemu_words_become_the_same_names() -> None:
    assert from_kernel(["sse4_1", "constant_tsc", "pclmulqdq"]) == {"sse4.1", "pclmuldq"}
    properties = {"sse4.1": True, "pclmulqdq": True, "avx": False, "check": True, "level": 13}
    assert from_qemu(properties) == {"sse4.1", "pclmuldq"}
