"""The cookie of a save image, as a stock libvirtd 9.0 wrote it."""

from __future__ import annotations

import pytest

from conf.domain.save_cookie import read_cookie_cpu, write_cookie
from conf.errors import ConfError

STOCK = """<cookie>
  <cpu mode='custom' match='exact' check='full'>
    <model fallback='forbid'>qemu64</model>
    <feature policy='require' name='hypervisor'/>
  </cpu>
  <slirpHelper/>
</cookie>
"""


def test_the_processor_of_the_saved_guest_is_read() -> None:
    cpu = read_cookie_cpu(STOCK)
    assert cpu is not None
    assert cpu.model is not None
    assert (cpu.model.name, [one.name for one in cpu.features]) == ("qemu64", ["hypervisor"])


@pytest.mark.parametrize("cookie", ["", "\n", "<cookie>\n</cookie>\n"])
def test_a_cookie_without_a_processor_says_nothing(cookie: str) -> None:
    assert read_cookie_cpu(cookie) is None


def test_what_is_no_cookie_is_refused() -> None:
    with pytest.raises(ConfError, match="expecting root element of 'cookie'"):
        read_cookie_cpu("<domain/>")


def test_a_cookie_that_is_written_reads_as_it_was() -> None:
    cpu = read_cookie_cpu(STOCK)
    assert cpu is not None
    assert read_cookie_cpu(write_cookie(cpu)) == cpu
    assert write_cookie(None) == "<cookie>\n</cookie>\n"
