"""Flags that clients give: those that nobody knows are refused.

Owns: the refusal's words.
"""

from __future__ import annotations

from typing import Final

from rpc.errors import ErrorDomain
from supervisor.dispatch.service_errors import ServiceErrors

_OURS: Final = ServiceErrors(ErrorDomain.LXC)
refuse_flags: Final = _OURS.check_flags
invalid: Final = _OURS.invalid_arg
