"""With which <cpu> a guest is started, and what it says once QEMU runs.

The values are what libvirt 9.0 makes of such documents, on a map that is smaller than its own.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from conf.domain.cpu import Cpu
from conf.domain.cpu_document import format_cpu, parse_cpu
from rpc.errors import ErrorCode, VirError
from supervisor.hostd.cpu.cpu_map import read_map
from supervisor.hostd.cpu.guest_cpu import Guest, HostModels, resolve, update, update_live
from supervisor.hostd.cpu.models import Cpu as HostCpu
from supervisor.hostd.cpu.models import Hypervisor

FILES = {
    "index.xml": "<cpus><arch name='x86'><include filename='f.xml'/><include filename='m.xml'/>"
    "</arch><arch name='arm'><model name='other'/></arch></cpus>",
    "f.xml": "<cpus><vendor name='AMD' string='AuthenticAMD'/>"
    "<feature name='sse'><cpuid eax_in='0x1' edx='0x2000000'/></feature>"
    "<feature name='avx'><cpuid eax_in='0x1' ecx='0x10000000'/></feature>"
    "<feature name='hypervisor'><cpuid eax_in='0x1' ecx='0x80000000'/></feature>"
    "<feature name='rdseed'><cpuid eax_in='0x7' ebx='0x40000'/></feature>"
    "<feature name='monitor'><cpuid eax_in='0x1' ecx='0x8'/></feature>"
    "<feature name='arch-capabilities'><cpuid eax_in='0x7' edx='0x20000000'/></feature>"
    "<feature name='rdctl-no'><msr index='0x10a' edx='0x0' eax='0x1'/></feature>"
    "<feature name='cmt'><cpuid eax_in='0x7' ebx='0x1000'/></feature>"
    "<feature name='invtsc' migratable='no'><cpuid eax_in='0x80000007' edx='0x100'/></feature>"
    "</cpus>",
    "m.xml": "<cpus><model name='old'><decode host='on' guest='on'/><feature name='sse'/></model>"
    "<model name='new'><decode host='on' guest='on'/><signature family='23' model='1'/>"
    "<vendor name='AMD'/><feature name='sse'/><feature name='avx'/><feature name='rdseed'/>"
    "<feature name='monitor' removed='yes'/></model>"
    "<model name='newer'><decode host='on' guest='off'/><model name='new'/>"
    "<feature name='cmt'/></model></cpus>",
}
MODELS = read_map("x86", lambda name: FILES[name].encode())
QEMU = Hypervisor({"old": frozenset(), "new": frozenset({"rdseed"})})
TCG = HostCpu("new", "AMD", ("hypervisor",), ("rdseed",))
HOST = HostModels(reported=TCG, full=TCG, migratable=TCG)
GUEST = Guest(arch="x86_64", virt_type="qemu", host_arch="x86_64", is_native=True)
NAMED = "<cpu mode='custom' match='exact' check='{}'><model fallback='allow'>{}</model>{}</cpu>"


def resolved(xml: str) -> str:
    return one_line(resolve(parse_cpu(xml), GUEST, MODELS, HOST, QEMU))


def one_line(cpu: Cpu) -> str:
    return "".join(line.strip() for line in format_cpu(cpu).splitlines())


def feature(name: str, policy: str) -> str:
    return f"<feature policy='{policy}' name='{name}'/>"


EXPANDED = (
    "<cpu mode='custom' match='exact' check='partial'><model fallback='forbid'>new</model>"
    "<vendor>AMD</vendor>" + feature("hypervisor", "require") + feature("rdseed", "disable")
)


def test_a_map_has_models_that_build_on_others_and_features_in_its_order() -> None:
    assert MODELS.names() == ["old", "new", "newer"]
    newer = MODELS.get("newer")
    assert newer is not None
    assert newer.features == {"sse", "avx", "rdseed", "cmt"}
    assert newer.removed == ("monitor",)
    assert (newer.vendor, newer.describes_guests) == ("AMD", False)
    assert MODELS.order({"rdseed", "sse", "zzz", "avx"}) == ("sse", "avx", "rdseed", "zzz")
    assert MODELS.not_migratable == {"invtsc"}


def test_a_file_outside_of_the_map_is_not_read() -> None:
    index = b"<cpus><arch name='x86'><include filename='../etc/passwd'/></arch></cpus>"
    with pytest.raises(ValueError, match="outside"):
        read_map("x86", lambda _: index)


def test_host_model_becomes_a_named_model_that_has_what_the_host_has() -> None:
    # 'monitor' was taken out of the model: guests have it off unless they ask for it.
    assert resolved("<cpu mode='host-model' check='partial'/>") == (
        EXPANDED + feature("monitor", "disable") + "</cpu>"
    )
    kept = resolved(
        "<cpu mode='host-model' check='partial'><model vendor_id='KVMKVMKVMKVM'/>"
        "<topology sockets='1' dies='1' cores='2' threads='1'/></cpu>"
    )
    assert "<model fallback='forbid' vendor_id='KVMKVMKVMKVM'>new</model>" in kept
    assert "cores='2'" in kept


def test_what_a_document_says_of_a_feature_counts_more_than_the_host() -> None:
    words = feature("rdseed", "force") + feature("avx", "optional") + feature("monitor", "require")
    said = resolved(f"<cpu mode='host-model' check='none'>{words}</cpu>")
    assert said.endswith(
        feature("hypervisor", "require")
        + feature("rdseed", "force")
        + feature("avx", "require")
        + feature("monitor", "require")
        + "</cpu>"
    )


def test_match_minimum_is_the_host_without_a_vendor_that_nobody_named() -> None:
    xml = NAMED.format("none", "old", "").replace("'exact'", "'minimum'")
    assert resolved(xml) == (
        EXPANDED.replace("partial", "none").replace("<vendor>AMD</vendor>", "")
        + feature("monitor", "disable")
        + "</cpu>"
    )


def test_a_model_that_qemu_lacks_is_described_by_another_unless_that_is_forbidden() -> None:
    assert resolved(NAMED.format("none", "newer", "")) == (
        "<cpu mode='custom' match='exact' check='none'><model fallback='forbid'>new</model>"
        + feature("rdseed", "disable")
        + feature("monitor", "disable")
        + "</cpu>"
    )
    with pytest.raises(VirError, match="CPU model newer is not supported by hypervisor") as refusal:
        resolved(NAMED.format("none", "newer", "").replace("allow", "forbid"))
    assert refusal.value.code is ErrorCode.CONFIG_UNSUPPORTED


def test_features_that_qemu_has_no_name_for_are_left_out() -> None:
    assert "cmt" not in resolved(NAMED.format("none", "old", feature("cmt", "require")))
    assert "cmt" not in resolved(f"<cpu mode='maximum'>{feature('cmt', 'require')}</cpu>")


@pytest.mark.parametrize(
    ("xml", "code", "message"),
    [
        (NAMED.format("none", "bogus", ""), ErrorCode.INTERNAL_ERROR, "Unknown CPU model bogus"),
        (
            "<cpu mode='host-model' check='none'><feature policy='disable' name='x'/></cpu>",
            ErrorCode.CONFIG_UNSUPPORTED,
            "unknown CPU feature: x",
        ),
        (
            "<cpu mode='host-passthrough' check='none'/>",
            ErrorCode.CONFIG_UNSUPPORTED,
            "CPU mode 'host-passthrough' for x86_64 qemu domain on x86_64 host is not supported",
        ),
        (
            NAMED.format("partial", "new", feature("invtsc", "require")),
            ErrorCode.CPU_INCOMPATIBLE,
            "Host CPU does not provide required features: rdseed, invtsc",
        ),
        (
            NAMED.format("partial", "old", feature("avx", "forbid")),
            ErrorCode.CPU_INCOMPATIBLE,
            "Host CPU provides forbidden features: avx",
        ),
        (
            NAMED.format("partial", "old", "").replace("'exact'", "'strict'"),
            ErrorCode.CPU_INCOMPATIBLE,
            "Host CPU does not strictly match guest CPU: Extra features: avx, hypervisor",
        ),
        (
            NAMED.format("partial", "old", "").replace(
                "</model>", "</model><vendor>Intel</vendor>"
            ),
            ErrorCode.CPU_INCOMPATIBLE,
            "host CPU vendor does not match required CPU vendor Intel",
        ),
    ],
)
def test_what_host_or_qemu_cannot_do_is_refused(xml: str, code: ErrorCode, message: str) -> None:
    with pytest.raises(VirError, match=message) as refusal:
        resolved(xml)
    assert refusal.value.code is code


def test_host_model_of_an_unknown_host_is_refused() -> None:
    cpu = parse_cpu("<cpu mode='host-model'/>")
    with pytest.raises(VirError, match="CPU mode 'host-model'"):
        resolve(cpu, GUEST, MODELS, None, QEMU)
    with pytest.raises(VirError, match="unknown host CPU model"):
        update(cpu, MODELS, None)


def test_a_live_cpu_names_each_difference_from_its_model() -> None:
    cpu = parse_cpu(NAMED.format("none", "new", feature("rdctl-no", "require")))
    live = update_live(cpu, MODELS, frozenset({"sse", "avx", "hypervisor"}), frozenset({"rdseed"}))
    assert one_line(live) == (
        "<cpu mode='custom' match='exact' check='full'><model fallback='allow'>new</model>"
        # Its register is not there without arch-capabilities.
        + feature("rdctl-no", "disable")
        + feature("hypervisor", "require")
        + feature("rdseed", "disable")
        + "</cpu>"
    )
    again = update_live(live, MODELS, frozenset({"sse", "avx", "hypervisor"}), frozenset())
    assert again == live


def test_a_cpu_to_be_checked_in_full_is_refused_with_both_lists() -> None:
    cpu = parse_cpu(NAMED.format("full", "new", ""))
    with pytest.raises(VirError) as refusal:
        update_live(cpu, MODELS, frozenset({"sse", "hypervisor", "monitor"}), frozenset())
    assert str(refusal.value).endswith(
        "guest CPU doesn't match specification: extra features: hypervisor,monitor, "
        "missing features: avx,rdseed"
    )
    assert refusal.value.code is ErrorCode.OPERATION_FAILED


def test_of_the_hosts_own_cpu_only_named_features_are_checked() -> None:
    cpu = parse_cpu(f"<cpu mode='maximum' check='full'>{feature('avx', 'require')}</cpu>")
    assert update_live(cpu, MODELS, frozenset({"sse", "avx"}), frozenset()) == cpu
    with pytest.raises(VirError, match="missing features: avx"):
        update_live(cpu, MODELS, frozenset({"sse"}), frozenset())
    unchecked = replace(cpu, check="none")
    assert update_live(unchecked, MODELS, frozenset(), frozenset()) == unchecked
