"""How hostd's calls about the host refuse flags.

Owns: that refusal; it is of no driver in particular.
"""

from __future__ import annotations

from typing import Final

from rpc.errors import ErrorDomain
from supervisor.dispatch.service_errors import ServiceErrors

refuse_flags: Final = ServiceErrors(ErrorDomain.NONE).check_flags
