"""Ctrl-C that waits until a step is complete, so that an interrupted run can be resumed."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Interrupts:
    """``with interrupts.handled(): ...`` around a loop, ``with interrupts: ...`` around what must be whole.

    An interrupt inside the latter is raised at its end. This leaves handlers other than Python's own
    alone, and does nothing outside the main thread.
    """

    def __init__(self) -> None:
        self._is_held = False
        self._has_come = False

    @contextmanager
    def handled(self) -> Iterator[None]:
        is_ours = (
            threading.current_thread() is threading.main_thread()
            and signal.getsignal(signal.SIGINT) is signal.default_int_handler
        )
        if is_ours:
            signal.signal(signal.SIGINT, self._handle)
        try:
            yield
        finally:
            if is_ours:
                signal.signal(signal.SIGINT, signal.default_int_handler)

    def _handle(self, signum: int, frame: FrameType | None) -> None:
        if not self._is_held:
            raise KeyboardInterrupt
        self._has_come = True

    def __enter__(self) -> None:
        self._is_held = True

    def __exit__(self, *error: object) -> None:
        self._is_held = False
        if self._has_come:
            self._has_come = False
            raise KeyboardInterrupt
