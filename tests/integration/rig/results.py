"""What a pytest that ran inside says of its tests.

Owns: reading its JUnit file.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree


@dataclass(frozen=True, slots=True)
class Result:
    """How one test went."""

    name: str  # with its parameters
    outcome: str  # "passed", "failed" or "skipped"
    text: str  # of the failure, or why it was skipped


def read_results(path: Path) -> list[Result]:
    """Every test's result."""
    return [result(case) for case in ElementTree.parse(path).iter("testcase")]


def result(case: ElementTree.Element) -> Result:
    """One test's."""
    name = case.get("name") or ""
    for kind, outcome in (("failure", "failed"), ("error", "failed"), ("skipped", "skipped")):
        found = case.find(kind)
        if found is not None:
            words = [
                found.get("message") or "",
                found.text or "",
                case.findtext("system-out") or "",
            ]
            return Result(name, outcome, "\n".join(word for word in words if word))
    return Result(name, "passed", "")


def of_test(results: list[Result], name: str) -> list[Result]:
    """The results of a test function, one for each set of parameters."""
    return [result for result in results if result.name.partition("[")[0] == name]
