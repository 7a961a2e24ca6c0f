"""Uploads and downloads: copies between a volume and a socket that rpcd pumps to the client.

Owns: one volume and one socket for the length of a transfer. May touch: nothing else.
Runs in a dedicated helper process: a hung NFS server stops this transfer only.
"""

from __future__ import annotations

import errno
import os
import socket
from typing import Final

from ipc import Ack, handles
from rpc.errors import ErrorCode, ErrorDomain, VirError
from supervisor.messages.sparse_stream import RECORD_HEADER, RecordType
from supervisor.stord.pool_process.copy import data_segments, punch_hole, write_all
from supervisor.stord.pool_process.errors import system_errors
from supervisor.stord.pool_process.messages import Receive, Send
from supervisor.stord.pool_process.safe_open import open_volume, size_of

BLOCK: Final = 1024 * 1024
RECORD: Final = 256 * 1024  # bytes of data in one record at most
PEER_CLOSED: Final = (errno.EPIPE, errno.ECONNRESET)


class VolumeTransfer:
    """Handles transfers."""

    @handles(Send)
    def send(self, request: Send) -> Ack:
        """Write a volume's bytes into a socket."""
        with system_errors(f"read '{request.path}'"):
            fd = open_volume(request.path, os.O_RDONLY)
            try:
                with socket.socket(fileno=request.descriptor.take()) as end:
                    size = size_of(fd)
                    start = _check_offset(request.path, request.offset, size)
                    stop = min(size, start + request.length) if request.length else size
                    _send(fd, end, start, stop, sparse=request.sparse)
            finally:
                os.close(fd)
        return Ack()

    @handles(Receive)
    def receive(self, request: Receive) -> Ack:
        """Write what arrives on a socket into a volume."""
        with system_errors(f"write '{request.path}'"):
            fd = open_volume(request.path, os.O_RDWR)
            try:
                with socket.socket(fileno=request.descriptor.take()) as end:
                    _check_offset(request.path, request.offset, size_of(fd))
                    limit = request.offset + request.length if request.length else 0
                    if request.sparse:
                        _receive_sparse(fd, end, request.offset, limit)
                    else:
                        _receive(fd, end, request.offset, limit)
            finally:
                os.close(fd)
        return Ack()


def _check_offset(path: str, offset: int, size: int) -> int:
    if offset > size:
        detail = f"the offset {offset} lies beyond the end of '{path}', whose size is {size}"
        raise VirError(ErrorCode.INVALID_ARG, detail, ErrorDomain.STORAGE)
    return offset


def _send(fd: int, end: socket.socket, start: int, stop: int, *, sparse: bool) -> None:
    """Send a range; a receiver that closes has aborted the transfer, which is no error."""
    try:
        if sparse:
            _send_records(fd, end, start, stop)
        else:
            _send_plain(fd, end, start, stop)
        end.shutdown(socket.SHUT_WR)
    except OSError as error:
        if error.errno not in PEER_CLOSED:
            raise


def _send_plain(fd: int, end: socket.socket, at: int, stop: int) -> None:
    while at < stop:
        done = os.sendfile(end.fileno(), fd, at, min(BLOCK, stop - at))
        if done == 0:  # the file was truncated meanwhile
            return
        at += done


def _send_records(fd: int, end: socket.socket, at: int, stop: int) -> None:
    for begin, finish in data_segments(fd, at, stop):
        if begin > at:
            end.sendall(RECORD_HEADER.pack(RecordType.HOLE, begin - at))
        for part in range(begin, finish, RECORD):
            length = min(RECORD, finish - part)
            end.sendall(RECORD_HEADER.pack(RecordType.DATA, length))
            _send_plain(fd, end, part, part + length)
        at = finish
    if at < stop:
        end.sendall(RECORD_HEADER.pack(RecordType.HOLE, stop - at))


def _receive(fd: int, end: socket.socket, at: int, limit: int) -> None:
    buffer = memoryview(bytearray(BLOCK))
    while count := receive_into(end, buffer):
        _check_limit(at + count, limit)
        write_all(fd, buffer[:count], at)
        at += count


def _receive_sparse(fd: int, end: socket.socket, at: int, limit: int) -> None:
    buffer = memoryview(bytearray(RECORD))
    while header := read_exactly(end, RECORD_HEADER.size):
        kind, length = RECORD_HEADER.unpack(header)
        _check_limit(at + length, limit)
        if kind == RecordType.HOLE:
            _make_hole(fd, at, length)
            at += length
            continue
        stop = at + length
        while at < stop:
            count = receive_into(end, buffer[: min(len(buffer), stop - at)])
            if count == 0:
                return
            write_all(fd, buffer[:count], at)
            at += count


def _make_hole(fd: int, at: int, length: int) -> None:
    """Punch a hole; beyond the end it extends the file."""
    size = size_of(fd)
    punch_hole(fd, at, min(at + length, size) - at)
    if at + length > size:
        os.ftruncate(fd, at + length)


def _check_limit(end: int, limit: int) -> None:
    if limit and end > limit:
        detail = f"the upload is longer than its length: it ends beyond byte {limit}"
        raise VirError(ErrorCode.INTERNAL_ERROR, detail, ErrorDomain.STORAGE)


def receive_into(end: socket.socket, buffer: memoryview) -> int:
    """Receive some bytes; 0 at the end of the stream, also after a reset."""
    try:
        return end.recv_into(buffer)
    except ConnectionResetError:
        return 0


def read_exactly(end: socket.socket, count: int) -> bytes:
    """Receive exactly `count` bytes; b"" when the stream ends before."""
    received = bytearray()
    while len(received) < count:
        try:
            chunk = end.recv(count - len(received))
        except ConnectionResetError:
            return b""
        if not chunk:
            return b""
        received += chunk
    return bytes(received)
