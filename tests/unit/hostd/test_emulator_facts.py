"""Facts for one domain: what is left is what its launch asks about."""

from __future__ import annotations

from conf.emulator import AcceleratorFacts, CpuModel, EmulatorFacts, Machine

NAMES = ("qemu64", "EPYC", "Nehalem", "max")
MODELS = tuple(CpuModel(name=name, type_name=f"{name}-x86_64-cpu") for name in NAMES)
FACTS = EmulatorFacts(
    binary="/usr/bin/qemu-system-x86_64",
    version=(7, 2, 0),
    package="",
    arch="x86_64",
    kvm=AcceleratorFacts(cpu_models=MODELS, host_model={"x": True}),
    tcg=AcceleratorFacts(cpu_models=MODELS[:3], host_model={"x": False}),
    machines=(
        Machine(name="pc-i440fx-7.2", alias="pc", is_default=True, default_cpu="Nehalem"),
        Machine(name="pc-q35-7.2", alias="q35"),
    ),
    devices=frozenset({"virtio-net-pci"}),
    objects=frozenset(),
    properties={"virtio-net-pci": frozenset({"ats"})},
    commands=frozenset(),
    events=frozenset(),
    options={},
    backends={},
)


def test_the_domains_machine_and_processors_are_left() -> None:
    slim = FACTS.for_launch("qemu", "pc-i440fx-7.2", "EPYC")
    assert [machine.name for machine in slim.machines] == ["pc-i440fx-7.2"]
    assert {model.name for model in slim.tcg.cpu_models} == {"qemu64", "EPYC", "Nehalem"}
    assert slim.cpu_model("qemu", "EPYC") == FACTS.cpu_model("qemu", "EPYC")
    assert slim.has_property("virtio-net-pci", "ats")
    assert slim.has_device("virtio-net-pci")
    assert not slim.kvm_usable


def test_kvm_is_left_to_domains_that_use_it() -> None:
    assert FACTS.for_launch("kvm", "q35", "").kvm_usable
    assert FACTS.for_launch("kvm", "q35", "").cpu_model("kvm", "max") is None


def test_a_machine_that_is_not_known_leaves_none() -> None:
    assert FACTS.for_launch("qemu", "nonesuch", "").machine("nonesuch") is None
