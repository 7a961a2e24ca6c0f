"""log_filters: the level of a part of the log."""

from __future__ import annotations

import logging

import pytest

from supervisor.runtime.log import (
    Collector,
    LogFilter,
    Output,
    format_output,
    parse_filters,
    parse_outputs,
    stderr_output,
)


@pytest.mark.parametrize(
    ("name", "process", "logger", "matches"),
    [
        ("rpcd", "rpcd", "supervisor.rpcd.client", True),
        ("qemu", "qemu:web", "supervisor.workers.worker", True),
        ("qemu:web", "qemu:web", "supervisor.workers.worker", True),
        ("qemu:web", "qemu:mail", "supervisor.workers.worker", False),
        ("nwfilter", "netd", "supervisor.netd.nwfilter.filters", True),
        ("domd", "netd", "supervisor.netd.main", False),
    ],
)
def test_a_filter_is_for_a_process_or_for_modules(
    name: str, process: str, logger: str, matches: bool
) -> None:
    assert LogFilter(logging.DEBUG, name).matches(process, logger) is matches


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("rpcd", "Malformed format for filter 'rpcd'"),
        ("0:rpcd", "Invalid priority '0' for filter '0:rpcd'"),
        ("2:x 5:rpcd", "Invalid priority '5' for filter '5:rpcd'"),
        (":x", "Invalid priority '' for filter ':x'"),
        ("1:", "Invalid match string ''"),
    ],
)
def test_a_filter_of_another_form_is_refused_in_libvirts_words(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        parse_filters(text)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("stderr", "Malformed format for output 'stderr'"),
        ("x:stderr", "Invalid log priority 'x' for log output 'x:stderr'"),
        ("1:nosuch", "Invalid log destination 'nosuch' for log output '1:nosuch'"),
        ("1:file", "'1:file' does not meet the format requirements for destination type 'file'"),
        ("1:syslog", "'1:syslog' does not meet the format requirements for destination type"),
        ("1:stderr:x", "'1:stderr:x' does not meet the format requirements for destination type"),
    ],
)
def test_an_output_of_another_form_is_refused_in_libvirts_words(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        parse_outputs(text, stderr_output())


def test_children_send_what_the_lowest_filter_asks_for() -> None:
    collector = Collector(logging.WARNING)
    try:
        collector.filter_by("4:rpcd  1:netd")
        assert (collector.level, collector.filters) == (logging.DEBUG, "4:*rpcd* 1:*netd* ")
        assert logging.getLogger().level == logging.WARNING  # the root's own stays
        collector.filter_by(collector.filters)  # as virt-admin showed it
        assert collector.filters == "4:*rpcd* 1:*netd* "
        collector.filter_by("1:root")
        assert logging.getLogger().level == logging.DEBUG
        collector.filter_by("")
        assert (collector.level, collector.filters) == (logging.WARNING, "")
    finally:
        collector.close()


def test_outputs_are_written_as_they_are_read() -> None:
    text = "1:stderr 3:file:/var/log/x.log 4:syslog:libvirtd"
    outputs = parse_outputs(text, stderr_output())
    assert " ".join(format_output(output) for output in outputs) == text
    assert format_output(Output(logging.INFO, "stderr", "123")) == "2:stderr"
