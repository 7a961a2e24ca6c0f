"""Comparison and baseline of CPUs that our own capabilities describe."""

from __future__ import annotations

import pytest

from rpc.errors import ErrorCode, VirError
from supervisor.hostd.calls.cpu import compare_cpu, write_baseline
from supervisor.hostd.cpu.cpu_xml import read_cpu
from supervisor.hostd.cpu.feature_names import qemu_feature_names
from supervisor.hostd.cpu.models import Comparison, Model, Models

MODELS = Models([Model("old", "Intel", frozenset({"sse", "sse2"}))])
HOST = frozenset({"sse", "sse2", "brand-new"})
XML = "<cpu><arch>x86_64</arch><model>old</model><vendor>Intel</vendor>{}</cpu>"
OURS = XML.format("<feature name='brand-new'/>")


def test_a_baseline_takes_the_features_of_the_host_that_no_model_has() -> None:
    assert 'name="brand-new"' in write_baseline([read_cpu(OURS)], MODELS, None, 0, HOST)
    limited = write_baseline([read_cpu(OURS)], MODELS, frozenset({"sse", "sse2"}), 0, HOST)
    assert "brand-new" not in limited


def test_models_that_no_document_gives_a_vendor_have_that_of_their_names() -> None:
    models = Models(
        [
            Model("plain", "", frozenset({"sse"})),
            Model("old", "Intel", frozenset({"sse", "sse2"})),
            Model("new", "Intel", frozenset({"sse", "sse2", "avx"})),
            Model("rival", "AMD", frozenset({"sse", "sse2", "avx"})),
        ]
    )

    def of(*documents: str) -> str:
        return write_baseline([read_cpu(f"<cpu>{one}</cpu>") for one in documents], models, None, 0)

    both = of("<model>old</model>", "<model>new</model>")
    assert ">old<" in both
    assert "vendor" not in both  # it is implied, and not told
    assert ">plain<" in of("<model>rival</model>", "<model>new</model>")
    foreign = of("<vendor>AMD</vendor><model>old</model>")
    assert ">plain<" in foreign
    assert ">AMD<" in foreign


def test_a_comparison_knows_the_features_of_the_host_that_no_model_has() -> None:
    assert compare_cpu(read_cpu(OURS), MODELS, HOST, 0) == Comparison.IDENTICAL
    without = frozenset({"sse", "sse2"})
    assert compare_cpu(read_cpu(OURS), MODELS, without, 0, HOST) == Comparison.INCOMPATIBLE


def test_a_feature_that_does_not_exist_is_refused() -> None:
    document = read_cpu(XML.format("<feature name='bogus'/>"))
    for call in (
        lambda: write_baseline([document], MODELS, None, 0, HOST),
        lambda: compare_cpu(document, MODELS, HOST, 0),
    ):
        with pytest.raises(VirError, match="Unknown CPU feature bogus") as refusal:
            call()
        assert refusal.value.code is ErrorCode.INTERNAL_ERROR


def test_features_that_this_host_lacks_are_known_by_qemus_properties() -> None:
    properties = {"sse4-1": False, "avx": True, "level": 13, "kvm-pv-eoi": True, "check": True}
    assert qemu_feature_names(properties) == {"sse4.1", "avx"}
