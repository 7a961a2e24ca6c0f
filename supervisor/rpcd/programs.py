"""The programs of the protocol that one server offers, and who answers their calls.

Owns: finding a call's procedure, and the methods for calls that rpcd answers itself.
May not touch: sockets, the bus.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from rpc.errors import ErrorCode, ErrorDomain, VirError
from rpc.framing import Header, Status
from rpc.table import Procedure, Program

OK: Final = int(Status.OK)  # compared faster

#: Answers a call of rpcd's own: the calling client, then the arguments.
LocalCall = Callable[..., object]


class Programs:
    """What clients of one server may call."""

    def __init__(
        self, programs: Iterable[Program], *targets: object, has_access: bool = True
    ) -> None:
        """Find the method of each procedure that rpcd answers itself.

        Args:
            programs: a call of any other is refused as unknown.
            targets: objects with a method for each such procedure, named as it is.
            has_access: whether access control, where it is on, is for these programs.

        Raises:
            SystemExit: the table names a procedure that has no method.
        """
        self.has_access = has_access
        self._programs = {program.number: program for program in programs}
        self._local = {
            procedure.name: _method(procedure, targets)
            for program in self._programs.values()
            for procedure in program.procedures.values()
            if procedure.owner == "rpcd"
        }

    def procedure(self, header: Header) -> Procedure:
        """Find the procedure of a call.

        Raises:
            VirError: RPC, with libvirt's message, for what cannot be called.
        """
        program = self._programs.get(header.program)
        if program is None or program.version != header.version:
            detail = f"Cannot find program {header.program} version {header.version}"
            raise VirError(ErrorCode.RPC, detail, ErrorDomain.RPC)
        procedure = program.procedure(header.procedure)
        if procedure is None or procedure.kind == "event":
            detail = f"unknown procedure: {header.procedure}"
            raise VirError(ErrorCode.RPC, detail, ErrorDomain.RPC)
        if header.status != OK:
            detail = f"Unexpected message status {header.status}"
            raise VirError(ErrorCode.RPC, detail, ErrorDomain.RPC)
        return procedure

    def procedure_name(self, header: Header) -> str:
        """Return the name of a call's procedure for the log; its numbers for an unknown one."""
        program = self._programs.get(header.program)
        procedure = program.procedure(header.procedure) if program is not None else None
        if procedure is None:
            return f"procedure {header.procedure} of program {header.program:#x}"
        return procedure.name

    def local_call(self, procedure: Procedure) -> LocalCall:
        """Find the method that answers a procedure with `owner=rpcd`."""
        return self._local[procedure.name]


def _method(procedure: Procedure, targets: Iterable[object]) -> LocalCall:
    for target in targets:
        method: LocalCall | None = getattr(target, procedure.name, None)
        if method is not None:
            return method
    raise SystemExit(f"rpcd: the table gives it {procedure.name}, which has no method")
