"""A service whose methods only record that they were reached, and rules of the test's own."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Final

from rpc import table as wire_table
from rpc import values
from rpc.errors import ErrorCode, VirError
from rpc.table import Procedure
from rpc.table_syntax import Source, Type
from supervisor.access.control import AccessControl, Question
from supervisor.access.guard import CallGuard
from supervisor.access.subjects import CHECKS_ITSELF
from supervisor.dispatch.dispatcher import ClientCall, Dispatcher
from supervisor.messages.calls import Client, ClientReply, ClientRequest, Identity
from tests.fuzz.arguments import sources

UUID: Final = bytes(range(16))
ALICE: Final = Identity(uid=1000, gid=1000, pid=7)
#: Documents whose object the guard reads.
DOCUMENTS: Final = {
    "domain": "<domain type='qemu'><name>web</name></domain>",
    "network": "<network><name>web</name></network>",
    "storage_pool": "<pool type='dir'><name>web</name><target><path>/p</path></target></pool>",
    "storage_vol": "<volume><name>web</name><capacity>1</capacity></volume>",
    "secret": "<secret><usage type='volume'><volume>web</volume></usage></secret>",
    "nwfilter": "<filter name='web'/>",
    "interface": "<interface type='ethernet' name='web'/>",
    "node_device": "<device><name>web</name></device>",
    "network_port": "<networkport/>",
}


@dataclass
class Rules:
    """An access driver that allows what the test says (`AccessDriver`)."""

    allowed: set[tuple[str, str]] | None = None  # permission and name; None: everything
    metadata_uris: tuple[str, ...] = ()
    asked: list[Question] = field(default_factory=list)

    async def allows(self, identity: Identity, questions: Sequence[Question]) -> list[bool]:
        self.asked += questions
        return [
            self.allowed is None or (str(question.permission), question.obj.name) in self.allowed
            for question in questions
        ]

    def explain(self, identity: Identity, question: Question) -> tuple[bool | None, str]:
        allowed = self.allowed is None
        return allowed, f"{question.permission} on {question.obj.text}"


def client(identity: Identity = ALICE, proven: Identity | None = None) -> Client:
    return Client(
        id="1",
        identity=identity,
        read_only=False,
        uri="qemu:///system",
        driver="qemu",
        proven=proven,
    )


def sample(source: Source, kind: Type, name: str = "") -> Any:
    """A value of a type: objects are called "web"."""
    if kind.limit is not None:
        if kind.base in ("opaque", "char"):
            return bytes(kind.limit if kind.fixed else 0)
        return []
    if kind.base in source.structs:
        made = getattr(values, "".join(part.capitalize() for part in kind.base.split("_")))
        return made(*(sample(source, f.type, f.name) for f in source.structs[kind.base]))
    if kind.base == "uuid":
        return UUID
    if kind.base == "string":
        return "web" if name in ("name", "portdev", "pool", "net") else ""
    return 0


def arguments_of(procedure: Procedure) -> tuple[Any, ...]:
    """Arguments of a call about an object that is called "web"."""
    source = sources()[procedure.program]
    found = [sample(source, argument.type, argument.name) for argument in procedure.args]
    for place, argument in enumerate(procedure.args):
        if argument.name in ("xml", "xml_desc", "dom_xml"):
            for object_type, xml in DOCUMENTS.items():
                if procedure.name.startswith((object_type, f"{object_type}_")):
                    found[place] = xml
    return tuple(found)


class RecordingService:
    """Has every method of one owner; each records its name and returns an empty result."""

    def __init__(self) -> None:
        self.reached: list[str] = []
        self.results: dict[str, Any] = {}
        self.forgets = False  # the checks that are left to methods
        self.missing: set[str] = set()  # look-ups that find nothing
        self.given: dict[str, tuple[Any, ...]] = {}

    async def answer(self, name: str, call: ClientCall, *arguments: Any) -> Any:
        if name in self.missing:
            raise VirError(ErrorCode.NO_DOMAIN, f"no object of {name}")
        if name in CHECKS_ITSELF and not self.forgets:
            await call.check_access(DOCUMENTS["domain"])
        self.reached.append(name)
        self.given[name] = arguments
        if name in self.results:
            return self.results[name]
        procedure = wire_table.load().named(name)
        source = sources()[procedure.program]
        found = tuple(sample(source, result.type, result.name) for result in procedure.ret)
        return found[0] if len(found) == 1 else found or None


@cache
def recording_service(owner: str) -> type[RecordingService]:
    """A class with a method for each procedure of an owner, all drivers'."""
    methods: dict[str, Any] = {}
    for procedure in wire_table.load().procedures():
        if procedure.owner == owner and procedure.kind == "call":
            parameters = ", ".join(argument.name for argument in procedure.args)
            exec(
                f"async def {procedure.name}(self, call, {parameters}):\n"
                f"    return await self.answer('{procedure.name}', call, {parameters})\n",
                {},
                methods,
            )
    return type("Service", (RecordingService,), methods)


@dataclass
class GuardedService:
    """A dispatcher with access control over recording methods."""

    owner: str
    rules: Rules
    forwarded: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.service = recording_service(self.owner)()
        self.guard = CallGuard(AccessControl([self.rules], session=False))
        self.dispatcher = Dispatcher(
            self.owner, self.service, guard=self.guard, fallback=self._forward
        )

    async def _forward(self, request: ClientRequest) -> ClientReply:
        self.forwarded.append(request.procedure)
        return ClientReply(payload=b"", cacheable=True)

    async def call(
        self, name: str, *arguments: Any, by: Client | None = None
    ) -> tuple[ClientReply, Any]:
        """Call a procedure as rpcd does; its reply, and the result in it."""
        procedure = wire_table.load().named(name)
        request = ClientRequest(
            program=procedure.program,
            procedure=procedure.number,
            payload=procedure.encode_args(arguments),
            client=by or client(),
        )
        answer = self.dispatcher.on_request(request)
        assert not isinstance(answer, ClientReply), "access control answers in a task"
        reply = await answer
        result = None
        with contextlib.suppress(ValueError):  # a forwarded call's is the worker's
            result = procedure.decode_ret(reply.payload)
        return reply, result


def owned(*owners: str) -> list[Procedure]:
    """The calls of some owners; not those of the admin socket, which is for administrators."""
    return [
        procedure
        for procedure in wire_table.load().procedures()
        if procedure.owner in owners
        and procedure.kind == "call"
        and not procedure.name.startswith("admin_")
    ]
