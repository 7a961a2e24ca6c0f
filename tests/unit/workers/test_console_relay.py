"""A console's relay: nothing that the device wrote is lost when it closes."""

from __future__ import annotations

import asyncio
import os
import socket

from supervisor.workers.console_relay import MAX_BUFFERED, Relay


async def read_to_end(stream: socket.socket) -> bytes:
    loop = asyncio.get_running_loop()
    stream.setblocking(False)
    output = bytearray()
    while data := await loop.sock_recv(stream, 1 << 16):
        output += data
    return bytes(output)


def test_a_client_that_reads_late_gets_what_the_device_wrote_before_its_end() -> None:
    sent = os.urandom(MAX_BUFFERED * 3)

    async def story() -> None:
        device, guest = socket.socketpair()
        closed = asyncio.Event()
        relay = Relay(device.detach(), lambda _: closed.set())
        stream = socket.socket(fileno=relay.take_stream())
        guest.setblocking(False)
        writing = asyncio.create_task(asyncio.get_running_loop().sock_sendall(guest, sent))
        await asyncio.sleep(0.05)  # the stream's buffer is full now
        receiving = asyncio.create_task(read_to_end(stream))
        await writing
        guest.close()
        async with asyncio.timeout(10):
            assert await receiving == sent
            await closed.wait()
        stream.close()

    asyncio.run(story())


def test_a_relay_to_a_client_that_does_not_read_ends_with_its_stream() -> None:
    async def story() -> None:
        device, guest = socket.socketpair()
        closed = asyncio.Event()
        relay = Relay(device.detach(), lambda _: closed.set())
        stream = relay.take_stream()
        guest.setblocking(False)
        filler = asyncio.create_task(
            asyncio.get_running_loop().sock_sendall(guest, bytes(MAX_BUFFERED * 3))
        )
        await asyncio.sleep(0.05)
        filler.cancel()
        guest.close()
        await asyncio.sleep(0.05)
        assert not relay.closed  # the client may still read
        os.close(stream)
        async with asyncio.timeout(10):
            await closed.wait()

    asyncio.run(story())


def test_all_that_a_device_holds_is_read_in_one_turn_of_the_loop() -> None:
    # When QEMU closes a pty, the kernel drops what was not read, and a read gives 4095 bytes.
    async def story() -> None:
        device, guest = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        relay = Relay(device.detach(), lambda _: None)
        stream = socket.socket(fileno=relay.take_stream())
        for _ in range(20):
            guest.send(b"x")  # a read gives one of them
        for _ in range(3):
            await asyncio.sleep(0)
        assert stream.recv(100, socket.MSG_DONTWAIT) == b"x" * 20
        relay.close()
        stream.close()
        guest.close()

    asyncio.run(story())
