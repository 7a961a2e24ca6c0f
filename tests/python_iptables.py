"""Whether this host's python-iptables can be tested: it may be missing, or not fit libxtables.

May touch: nothing; it has rules translated by a process of its own, as netd does.
"""

from __future__ import annotations

import asyncio
import importlib.util
import os
from typing import Final

import pytest

from supervisor.netd.firewall.xtables import python_iptables_works

_INSTALLED: Final = importlib.util.find_spec("iptc") is not None

#: Root reads the revisions of extensions. A python-iptables that is there and does not fit is no
#: skipped test: on Debian 13 nothing could be installed that would let it run, and netd uses
#: iptables-legacy-restore there.
NEEDED: Final = (
    pytest.mark.skipif(
        os.geteuid() != 0 or not _INSTALLED, reason="needs root and python-iptables"
    ),
    pytest.mark.xfail(
        os.geteuid() == 0 and _INSTALLED and not asyncio.run(python_iptables_works()),
        reason="python-iptables 1.2 does not know libxtables' structures since iptables 1.8.11",
        run=False,
    ),
)
