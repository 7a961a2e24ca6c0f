"""Firmware descriptors: which one a start chooses for <os firmware=>, and what it fills in."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from conf.domain import Domain, parse_domain
from conf.errors import ConfError
from supervisor.images.firmware_descriptors import read_descriptors
from supervisor.workers.qemu.start.firmware import fill_firmware

NVRAM = Path("/nvram/d_VARS.fd")
KEYS = ["enrolled-keys", "requires-smm", "secure-boot"]


def write_descriptor(path: Path, name: str, machines: list[str], features: list[str]) -> None:
    path.parent.mkdir(exist_ok=True)
    mapping = {
        "device": "flash",
        "executable": {"filename": f"/fw/{name}.fd", "format": "raw"},
        "nvram-template": {"filename": f"/fw/{name}.vars.fd", "format": "raw"},
    }
    content = {
        "description": name, "interface-types": ["uefi"], "mapping": mapping,
        "targets": [{"architecture": "x86_64", "machines": machines}],
        "features": features, "tags": [],
    }  # fmt: skip
    path.write_text(json.dumps(content))


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    share = tmp_path / "share"
    write_descriptor(share / "40-keys.json", "keys", ["pc-q35-*"], KEYS)
    write_descriptor(share / "50-secure.json", "secure", ["pc-q35-*"], KEYS[1:])
    write_descriptor(share / "60-plain.json", "plain", ["pc-i440fx-*", "pc-q35-*"], [])
    return share


def domain(inner: str = "", *, machine: str = "pc-q35-7.2", features: str = "") -> Domain:
    return parse_domain(
        "<domain type='qemu'><name>d</name><memory>1024</memory>"
        f"<os firmware='efi'><type arch='x86_64' machine='{machine}'>hvm</type>{inner}</os>"
        f"<features><acpi/>{features}</features></domain>"
    )


def feature(name: str, enabled: str) -> str:
    return f"<firmware><feature enabled='{enabled}' name='{name}'/></firmware>"


@pytest.mark.parametrize(
    ("inner", "machine", "chosen"),
    [
        ("", "pc-q35-7.2", "keys"),
        ("", "pc-i440fx-7.2", "plain"),
        ("<loader secure='yes'/>", "pc-q35-7.2", "keys"),
        ("<loader secure='no'/>", "pc-q35-7.2", "plain"),
        (feature("secure-boot", "no"), "pc-q35-7.2", "plain"),
        (feature("enrolled-keys", "no"), "pc-q35-7.2", "secure"),
    ],
)
def test_first_descriptor_that_satisfies_the_domain_is_chosen(
    directory: Path, inner: str, machine: str, chosen: str
) -> None:
    subject = domain(inner, machine=machine)
    fill_firmware(subject, read_descriptors([directory]), NVRAM)
    loader, nvram = subject.os.loader, subject.os.nvram
    assert loader is not None
    assert nvram is not None
    assert (loader.path, loader.type, loader.readonly) == (f"/fw/{chosen}.fd", "pflash", True)
    assert (nvram.path, nvram.template) == (str(NVRAM), f"/fw/{chosen}.vars.fd")
    assert subject.os.firmware is None


def test_firmware_that_requires_smm_turns_it_on(directory: Path) -> None:
    subject = domain()
    fill_firmware(subject, read_descriptors([directory]), NVRAM)
    assert subject.os.loader is not None
    assert subject.os.loader.secure
    assert subject.features is not None
    assert subject.features.smm is not None
    assert subject.features.smm.state is True


def test_firmware_that_requires_smm_is_refused_where_smm_is_off(directory: Path) -> None:
    off = domain(features="<smm state='off'/>")
    with pytest.raises(ConfError, match="SMM turned off"):
        fill_firmware(off, read_descriptors([directory]), NVRAM)


def test_nvram_of_the_domain_is_kept(directory: Path) -> None:
    subject = domain("<nvram template='/t.fd'>/mine.fd</nvram>")
    fill_firmware(subject, read_descriptors([directory]), NVRAM)
    assert subject.os.nvram is not None
    assert (subject.os.nvram.path, subject.os.nvram.template) == ("/mine.fd", "/t.fd")


@pytest.mark.parametrize("inner", ["<loader secure='yes'/>", "<loader stateless='yes'/>"])
def test_domain_that_no_descriptor_satisfies_has_libvirts_error(
    directory: Path, inner: str
) -> None:
    subject = domain(inner, machine="pc-i440fx-7.2")
    with pytest.raises(ConfError, match="Unable to find any firmware to satisfy 'efi'") as refused:
        fill_firmware(subject, read_descriptors([directory]), NVRAM)
    assert refused.value.kind == "operation_failed"


def test_later_directory_replaces_and_hides_descriptors(directory: Path, tmp_path: Path) -> None:
    etc = tmp_path / "etc"
    write_descriptor(etc / "50-secure.json", "own", ["pc-q35-*"], [])
    (etc / "40-keys.json").write_text("")
    (etc / "45-broken.json").write_text("{")
    descriptors = read_descriptors([directory, etc, tmp_path / "absent"])
    files = [entry.mapping.executable.filename for entry in descriptors if entry.mapping.executable]
    assert files == ["/fw/own.fd", "/fw/plain.fd"]
