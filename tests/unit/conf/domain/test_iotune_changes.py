"""Changing a disk's I/O limits, as stock does it."""

from __future__ import annotations

import pytest

from conf.domain import Domain, parse_domain
from conf.domain.devices.disk import Disk, Iotune
from conf.domain.iotune import check_bursts, check_values, set_iotune
from conf.errors import ConfError


def domain(*tunes: str) -> Domain:
    disks = "".join(
        f"<disk type='file'><source file='/{place}'/><target dev='vd{letter}'/>{tune}</disk>"
        for place, (letter, tune) in enumerate(zip("abc", tunes, strict=False))
    )
    return parse_domain(
        "<domain type='qemu'><name>d</name><memory>1024</memory><os><type>hvm</type></os>"
        f"<devices>{disks}</devices></domain>"
    )


def disk(of: Domain, place: int = 0) -> Disk:
    return of.devices.disks[place]


def limits(of: Disk) -> dict[str, int | str]:
    tune = of.iotune or Iotune()
    return {name: getattr(tune, name) for name in Iotune.__slots__ if getattr(tune, name)}


def test_a_family_of_values_is_changed_together() -> None:
    changed = domain("<iotune><total_bytes_sec>9</total_bytes_sec><read_iops_sec>5</read_iops_sec></iotune>")  # fmt: skip  # noqa: E501
    set_iotune(changed, disk(changed), {"read_bytes_sec": 7})
    assert limits(disk(changed)) == {"read_bytes_sec": 7, "read_iops_sec": 5}
    set_iotune(changed, disk(changed), {"read_bytes_sec": 0, "read_iops_sec": 0})
    assert disk(changed).iotune is None


def test_the_length_of_a_burst_that_is_cleared_is_qemus_own() -> None:
    changed = domain("<iotune/>")
    bursts = {"total_iops_sec": 100, "total_iops_sec_max": 500, "total_iops_sec_max_length": 3}
    check_bursts(set_iotune(changed, disk(changed), bursts))
    assert limits(disk(changed)) == bursts
    set_iotune(changed, disk(changed), {"total_iops_sec_max_length": 0})
    assert limits(disk(changed))["total_iops_sec_max_length"] == 1


def test_a_disk_joins_a_group_with_the_groups_limits_and_shares_its_own() -> None:
    group = "<iotune><total_bytes_sec>5</total_bytes_sec><group_name>g</group_name></iotune>"
    changed = domain("<iotune><read_bytes_sec>9</read_bytes_sec></iotune>", group, "")
    set_iotune(changed, disk(changed), {"group_name": "g"})
    assert limits(disk(changed)) == {"total_bytes_sec": 5, "group_name": "g"}
    set_iotune(changed, disk(changed), {"total_bytes_sec": 7})
    assert limits(disk(changed, 1)) == {"total_bytes_sec": 7, "group_name": "g"}
    assert limits(disk(changed, 2)) == {}


@pytest.mark.parametrize(
    ("values", "kind", "words"),
    [
        (
            {"read_bytes_sec": 1, "total_bytes_sec": 3},
            "invalid_arg",
            "total and read/write of bytes_sec cannot be set at the same time",
        ),
        (
            {"write_iops_sec_max": 1, "total_iops_sec_max": 3},
            "invalid_arg",
            "total and read/write of iops_sec_max cannot be set at the same time",
        ),
        (
            {"total_bytes_sec": 1000000000000001},
            "argument_unsupported",
            "block I/O throttle limit value must be no more than 1000000000000000",
        ),
    ],
)
def test_values_that_no_disk_can_have_are_refused(
    values: dict[str, int], kind: str, words: str
) -> None:
    with pytest.raises(ConfError) as refusal:
        check_values(values)
    assert (refusal.value.kind, refusal.value.message) == (kind, words)


@pytest.mark.parametrize(
    ("tune", "words"),
    [
        (
            Iotune(total_iops_sec_max=50),
            "cannot reset 'total_iops_sec' when 'total_iops_sec_max' is set",
        ),
        (
            Iotune(read_bytes_sec=9, read_bytes_sec_max=5),
            "value 'read_bytes_sec_max' cannot be smaller than 'read_bytes_sec'",
        ),
    ],
)
def test_a_burst_below_its_limit_is_refused(tune: Iotune, words: str) -> None:
    with pytest.raises(ConfError) as refusal:
        check_bursts(tune)
    assert (refusal.value.kind, refusal.value.message) == ("config_unsupported", words)
