"""What stord and guests' workers ask of hostd: the values of secrets.

Owns: the messages' shapes. Receiver: hostd. Clients' own calls on secrets go as
`supervisor.messages.calls.ClientRequest`.
"""

from __future__ import annotations

import msgspec

from ipc import Request


class SecretValue(msgspec.Struct, frozen=True, kw_only=True):
    """A secret's value; it is in no text that is made of this message."""

    value: bytes

    def __repr__(self) -> str:
        return "SecretValue(value=…)"


class GetSecret(Request[SecretValue], frozen=True, kw_only=True, tag="hostd.get_secret"):
    """Stord, or a guest's worker: a secret that a document names, private or not.

    Errors: NO_SECRET when there is none, or it has no value; INVALID_ARG when it is for something
    else; OPERATION_DENIED for processes that have no use for secrets.
    """

    deadline_s = 5.0
    usage_type: str  # what it is wanted for: "volume", "iscsi", "ceph", "tls", "vtpm"
    uuid: str = ""  # one of these names it
    usage: str = ""
