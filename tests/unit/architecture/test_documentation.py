"""The documentation names paths that exist, in lines of at most 100 columns."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import pytest

from tests.paths import PROJECT

PAGES: Final = (
    "README.md", "CONTRIBUTING.md", "docs/architecture.md", "docs/glossary.md"
)  # fmt: skip
#: A path of this repository in backticks; `…` and capitals are placeholders.
PATH: Final = re.compile(r"`((?:supervisor|conf|rpc|ipc|tests|bench|docs)/[a-z0-9_/.*-]*)`")
LINK: Final = re.compile(r"\]\((?!https?:)([^)#]+)")
MARKDOWN: Final = [*PROJECT.glob("*.md"), *(PROJECT / "docs").rglob("*.md")]
GENERATED: Final = "support.md"


@pytest.mark.parametrize("page", PAGES)
def test_every_path_of_a_page_exists(page: str) -> None:
    text = (PROJECT / page).read_text()
    missing = [path for path in PATH.findall(text) if not list(PROJECT.glob(path.rstrip("/")))]
    assert PATH.search(text)
    assert not missing


@pytest.mark.parametrize("page", MARKDOWN, ids=lambda page: page.name)
def test_every_link_leads_to_a_file(page: Path) -> None:
    links = LINK.findall(page.read_text())
    assert not [link for link in links if not (page.parent / link).exists()]


def test_prose_has_lines_of_at_most_100_columns() -> None:
    for path in MARKDOWN:
        for number, line in enumerate(path.read_text().splitlines(), start=1):
            is_prose = path.name != GENERATED and not line.startswith(("|", "    "))
            assert not is_prose or len(line) <= 100, f"{path.name}:{number}"
