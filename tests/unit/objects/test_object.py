"""The base of every object, and the selection of the live object and the definition."""

from __future__ import annotations

import pytest

from rpc.errors import ErrorCode, ErrorDomain, VirError
from supervisor.dispatch.service_errors import ServiceErrors
from supervisor.objects.impact import select_impact
from supervisor.objects.object import LibvirtObject
from supervisor.objects.object_type import ObjectType

STORAGE = ServiceErrors(ErrorDomain.STORAGE)
POOL = ObjectType(
    name="pool",
    long_name="storage pool",
    edit_command="pool-edit",
    not_found=ErrorCode.NO_STORAGE_POOL,
    errors=STORAGE,
    conf_errors=STORAGE,
)
LIVE, CONFIG = 1, 2


def pool(definition: str | None, runtime: str | None) -> LibvirtObject[str, str]:
    return LibvirtObject(POOL, "p", bytes(16), definition, runtime)


def test_an_object_that_is_only_being_created_is_not_listed() -> None:
    new = pool(None, None)
    assert not new.is_listed
    assert not new.is_active
    assert pool("xml", None).is_listed
    assert pool(None, "state").is_listed


def test_an_object_has_its_types_errors_and_its_uuid_as_text() -> None:
    new = pool("xml", None)
    assert new.errors.domain is ErrorDomain.STORAGE
    assert new.uuid_text == "00000000-0000-0000-0000-000000000000"


@pytest.mark.parametrize(
    ("definition", "runtime", "flags", "selected"),
    [
        ("xml", None, 0, (False, True)),
        ("xml", "state", 0, (True, False)),
        ("xml", "state", LIVE | CONFIG, (True, True)),
        ("xml", "state", CONFIG | 4, (False, True)),
        (None, "state", LIVE, (True, False)),
    ],
)
def test_no_flag_selects_the_current_state(
    definition: str | None, runtime: str | None, flags: int, selected: tuple[bool, bool]
) -> None:
    assert select_impact(pool(definition, runtime), flags) == selected


@pytest.mark.parametrize(
    ("definition", "runtime", "flags", "text"),
    [
        ("xml", None, LIVE, "storage pool 'p' is not active"),
        (None, "state", CONFIG, "cannot change persistent config of a transient storage pool"),
    ],
)
def test_what_does_not_exist_cannot_be_selected(
    definition: str | None, runtime: str | None, flags: int, text: str
) -> None:
    with pytest.raises(VirError, match=text) as refused:
        select_impact(pool(definition, runtime), flags)
    assert refused.value.code is ErrorCode.OPERATION_INVALID
