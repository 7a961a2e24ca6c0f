"""A client that never stops asking, and what it sees while the daemon's processes die.

Owns: one thread and its connection, made again when it breaks. May not touch: the daemon.
"""

from __future__ import annotations

import threading
from types import TracebackType
from typing import Any

from tests.clients.libvirt_binding import libvirt

ANSWER_S = 20.0


class CallLoop:
    """Looks a running domain up and asks for its state, again and again."""

    def __init__(self, uri: str, name: str) -> None:
        self._uri = uri
        self._name = name
        self._stop = threading.Event()
        self._answered = threading.Condition()
        self._thread = threading.Thread(target=self._run)
        self.answers = 0
        self.errors: list[str] = []
        self.wrong: list[object] = []

    def wait_answers(self, more: int) -> None:
        """Wait until so many more calls were answered."""
        with self._answered:
            wanted = self.answers + more
            assert self._answered.wait_for(lambda: self.answers >= wanted, ANSWER_S), (
                f"no answer in {ANSWER_S:.0f} s: {self.errors[-3:]}"
            )

    def __enter__(self) -> CallLoop:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._thread.join(ANSWER_S)

    def _run(self) -> None:
        link: Any = None
        failed = False
        while not self._stop.is_set():
            try:
                link = link or libvirt.open(self._uri)
                domain = link.lookupByName(self._name)
                seen = (domain.name(), domain.state()[0], domain.isActive())
            except libvirt.libvirtError as error:
                if not failed:  # one breakdown is one error, however often it is tried again
                    self.errors.append(str(error))
                failed, link = True, None
                self._stop.wait(0.01)
                continue
            failed = False
            if seen != (self._name, libvirt.VIR_DOMAIN_RUNNING, 1):
                self.wrong.append(seen)
            with self._answered:
                self.answers += 1
                self._answered.notify_all()
        if link is not None:
            link.close()
