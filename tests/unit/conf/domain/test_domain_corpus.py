"""Our completed domains beside those of a stock libvirt 9.0, where its answers are at hand."""

from __future__ import annotations

from collections import Counter
from typing import Final

import pytest

from conf.domain import format_domain, parse_domain
from conf.emulator import EmulatorFacts
from tests.recorded_qemu import SAME_QEMU
from tests.unit.conf.domain import domain_corpus

#: How many documents were equal when this was last raised; it never falls.
ACCEPTED_FLOOR: Final = 362
REFUSED_FLOOR: Final = 190


@SAME_QEMU
@pytest.mark.skipif(
    not domain_corpus.CORPUS.exists(), reason=f"{domain_corpus.CORPUS}: no measured answers here"
)
def test_as_many_domains_as_ever_come_out_as_stock_has_them(
    emulator_facts: EmulatorFacts,
) -> None:
    assert emulator_facts.arch == "x86_64"
    equal: Counter[bool] = Counter()
    for case in domain_corpus.cases():
        equal[bool(case.code)] += not domain_corpus.difference(case)
    assert equal[False] >= ACCEPTED_FLOOR, "see tests/unit/conf/domain/corpus_report.py"
    assert equal[True] >= REFUSED_FLOOR, "see tests/unit/conf/domain/corpus_report.py"


@pytest.mark.skipif(
    not domain_corpus.CORPUS.exists(), reason=f"{domain_corpus.CORPUS}: no measured answers here"
)
def test_every_document_that_stock_wrote_is_written_again_as_it_is() -> None:
    for case in domain_corpus.cases():
        if case.output:
            document = domain_corpus.with_values(case.output)
            written = format_domain(parse_domain(document), secure=True)
            assert domain_corpus.unlike(document, written) == [], case.name
