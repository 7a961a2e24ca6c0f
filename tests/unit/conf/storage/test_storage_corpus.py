"""Documents of storage and secrets come out as from a stock libvirt 9.0."""

from __future__ import annotations

import pytest

from tests.unit.conf.storage import storage_corpus

pytestmark = pytest.mark.skipif(
    not storage_corpus.CORPUS.exists(), reason="the measured answers of stock are not here"
)
#: How many documents each category has, and how many are as from stock; the others are pools that
#: we define and stock's host could not.
FLOORS = {"storage-pool": (21, 16), "storage-volume": (14, 14), "secret": (4, 4)}


@pytest.mark.parametrize("category", storage_corpus.CATEGORIES)
def test_every_document_is_answered_as_by_stock(category: str) -> None:
    different = {
        case.name: difference
        for case in storage_corpus.cases(category)
        if (difference := storage_corpus.difference(case))
        and not storage_corpus.is_definable_here(case)
    }
    assert different == {}


@pytest.mark.parametrize("category", storage_corpus.CATEGORIES)
def test_no_more_documents_are_excused_than_are_known(category: str) -> None:
    every = list(storage_corpus.cases(category))
    excused = [case for case in every if storage_corpus.is_definable_here(case)]
    assert (len(every), len(every) - len(excused)) == FLOORS[category]
