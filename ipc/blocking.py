"""A peer that answers calls one after the other and blocks: the end of a link without a loop.

Owns: its socket, and which calls are a batch. For processes whose handlers block anyhow: a loop
would add its turns to each call and could do nothing meanwhile. May not touch: what messages mean.
"""

from __future__ import annotations

import array
import contextlib
import logging
import os
import socket
import time
from collections.abc import Callable
from typing import Final

from ipc.context import CallContext, set_call
from ipc.descriptor import Descriptor
from ipc.errors import NoHandler, ProtocolError
from ipc.frames import Call, Encoder, FrameDecoder, Received
from ipc.handlers import Endpoint
from ipc.inbound import error_fields
from ipc.transport import ANCILLARY, READ_SIZE, received_descriptors

#: What a send or read raises when the other end is closed, perhaps with bytes unread.
CLOSED: Final = (BrokenPipeError, ConnectionResetError)

log = logging.getLogger(__name__)


class Unfinished:
    """A handler's answer of which the last part is done after the handlers of the whole batch.

    A batch is calls of one kind that have arrived behind each other: they share the flush of a
    disk, which takes longer than all the rest.
    """

    __slots__ = ("finish",)

    def __init__(self, finish: Callable[[], object]) -> None:
        """Take the last part; it is called unless the process ends.

        Args:
            finish: returns the answer, or raises what the handler may raise.
        """
        self.finish = finish


class BlockingServer:
    """Answers the calls of one peer by the plain handlers of an endpoint."""

    def __init__(self, end: socket.socket, name: str, endpoint: Endpoint) -> None:
        """Take the socket over.

        Args:
            end: one end of a stream socket pair.
            name: the process at the other end.
            endpoint: the handlers, none of them a coroutine, and the error codec.
        """
        self._socket = end
        self._name = name
        self._endpoint = endpoint
        self._encoder = Encoder()
        self._decoder = FrameDecoder()

    def run(self) -> None:
        """Answer calls until the peer closes the link or sends what is no frame.

        A call's deadline and its cancellation are the caller's, who kills this process.
        """
        self._socket.setblocking(True)  # noqa: FBT003  (socket's own)
        try:
            with self._socket, contextlib.suppress(*CLOSED):
                while self._answer_some():
                    pass
        except ProtocolError as error:
            log.error("the link to %s is closed: %s", self._name, error)
        finally:
            for fd in self._decoder.close():
                os.close(fd)

    def _answer_some(self) -> bool:
        """Wait for bytes and answer the calls in them; return whether there may be more."""
        data, ancillary, _, _ = self._socket.recvmsg(READ_SIZE, ANCILLARY, socket.MSG_CMSG_CLOEXEC)
        descriptors = received_descriptors(ancillary)
        if not data:
            for descriptor in descriptors:
                os.close(descriptor)
            return False
        unfinished: list[tuple[Call, Unfinished]] = []
        for received in self._decoder.feed(data, descriptors):
            call = received.frame
            if not isinstance(call, Call):
                continue
            if unfinished and call.tag != unfinished[0][0].tag:
                self._finish(unfinished)
            answer = self._call(call, received)
            if isinstance(answer, Unfinished):
                unfinished.append((call, answer))
            else:
                self._reply(call, answer)
        self._finish(unfinished)
        return True

    def _finish(self, unfinished: list[tuple[Call, Unfinished]]) -> None:
        """Finish and send the answers of a batch, which is empty then."""
        for call, answer in unfinished:
            self._reply(call, outcome(answer.finish))
        unfinished.clear()

    def _call(self, call: Call, received: Received) -> object:
        """Call the handler; return its answer, or the error that it raised."""
        set_call(CallContext(self._name, call.trace, time.monotonic() + call.left_s))
        handler = self._endpoint.handlers.find(call.tag)
        if handler is None:
            return NoHandler(f"this process has no handler for {call.tag}")
        return outcome(lambda: handler.run(received.body(handler.decoder)))

    def _reply(self, call: Call, answer: object) -> None:
        """Send a handler's answer, or the error that it raised."""
        if not isinstance(answer, Exception):
            try:
                data, descriptors = self._encoder.encode(1, call.number, answer)
            except ProtocolError as error:
                answer = error
            else:
                self._send(data, descriptors)
                return
        fields = error_fields(answer, self._endpoint.errors, self._name)
        self._send(*self._encoder.encode(2, call.number, *fields))

    def _send(self, data: bytes, descriptors: list[Descriptor]) -> None:
        sent = 0
        if descriptors:
            numbers = array.array("i", [descriptor.fileno() for descriptor in descriptors])
            rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, numbers)]
            sent = self._socket.sendmsg([data], rights)
            for descriptor in descriptors:
                descriptor.close()
        if sent < len(data):
            self._socket.sendall(data[sent:] if sent else data)


def outcome(run: Callable[[], object]) -> object:
    """Return what a handler returns, or the error that it raises."""
    try:
        return run()
    except Exception as error:  # noqa: BLE001  (the top of a handler: the error becomes the reply)
        return error
