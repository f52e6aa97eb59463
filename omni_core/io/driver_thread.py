"""A driver on an event loop in a thread of its own, with plain blocking calls: for rclpy nodes, which have no loop."""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

from omni_core.errors import LocalMisuse, SystemRefused
from omni_core.io.lifecycle import Driver, State

D = TypeVar("D", bound=Driver)
T = TypeVar("T")

VERB_TIMEOUT = 90.0  # s; netlink takes milliseconds, DNS seconds, compiling for the kernel a while on a small board


class DriverThread(Generic[D]):
    """``driver`` may be asked for its state from any thread; everything else goes through here.

    Verbs raise what the driver raises, or SystemRefused after ``timeout`` s; what hangs is cancelled and undone. Those
    that end something wait for the driver's ``patience`` besides.
    """

    def __init__(self, make: Callable[[], D], name: str = "omni") -> None:
        """``make`` builds the driver, inside the thread."""
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()
        try:
            self.driver: D = self.call(make)
        except BaseException:
            self._end()
            raise

    @property
    def state(self) -> State:
        return self.driver.state

    def configure(self, timeout: float = VERB_TIMEOUT) -> None:
        self.run(self.driver.configure(), timeout)

    def activate(self, timeout: float = VERB_TIMEOUT) -> None:
        self.run(self.driver.activate(), timeout)

    def deactivate(self, timeout: float = VERB_TIMEOUT) -> None:
        self.run(self.driver.deactivate(), timeout + self.driver.patience)

    def cleanup(self, timeout: float = VERB_TIMEOUT) -> None:
        self.run(self.driver.cleanup(), timeout + self.driver.patience)

    def run(self, work: Coroutine[Any, Any, T], timeout: float = VERB_TIMEOUT) -> T:
        """Run a coroutine of the driver (``ping``, ``wait_for_peers`` ...) and wait for its result."""
        if not self._thread.is_alive() or threading.current_thread() is self._thread:
            work.close()
            raise LocalMisuse("the driver's thread has ended, or waits for itself")
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result(timeout)
        except concurrent.futures.TimeoutError:
            if future.done():
                raise  # the work's own
            future.cancel()
            raise SystemRefused("driver", f"no end after {timeout:g} s", "see the log for what it waits for") from None

    def call(self, function: Callable[[], T], timeout: float = VERB_TIMEOUT) -> T:
        """Run a short function (``driver.status`` ...) in the thread."""

        async def work() -> T:
            return function()

        return self.run(work(), timeout)

    def hurry(self) -> None:
        """See Driver.hurry. From any thread, also while a verb is waited for."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self.driver.hurry)

    def close(self, timeout: float = VERB_TIMEOUT) -> None:
        """Cleanup, then the thread ends. Idempotent."""
        if not self._thread.is_alive():
            return
        try:
            self.cleanup(timeout)
        finally:
            self._end()

    def _end(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_forever()
        finally:
            remaining = asyncio.all_tasks(self._loop)
            for task in remaining:
                task.cancel()
            self._loop.run_until_complete(asyncio.gather(*remaining, return_exceptions=True))
            self._loop.run_until_complete(self._loop.shutdown_default_executor())
            self._loop.close()
