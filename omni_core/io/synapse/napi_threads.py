"""Where the frames of omni0 are sealed: in the softirq of who sends them, or in threads of the kernel.

In the softirq is faster for each frame: nobody has to be woken. But then a sender of very many small frames does all
the work up to the other end of the wire on its own CPU, one frame at a time. So while synapse_tx says that there are
many, the NAPI of omni0-syn runs in threads (Documentation/networking/napi.rst): on another CPU, in batches, and a
sender that is too fast waits at its queue.
"""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

logger = logging.getLogger(__name__)

HOLD = 2.0  # s without news, then it is over; synapse_tx repeats itself each half second


class NapiThreads:
    """Of one interface. Nothing happens on kernels before 5.12, or where /sys is read-only."""

    def __init__(self, interface: str) -> None:
        self._switch = Path("/sys/class/net") / interface / "threaded"
        self._timer: asyncio.TimerHandle | None = None

    def begin(self) -> None:
        """Off, whatever a killed process has left."""
        self._set(False)

    def hold(self) -> None:
        """On from now, until HOLD after the last call."""
        if self._timer is None:
            self._set(True)
        else:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(HOLD, self.end)

    def end(self) -> None:
        """Idempotent."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
            self._set(False)

    def _set(self, on: bool) -> None:
        try:
            self._switch.write_text("1" if on else "0")
        except OSError as error:
            logger.debug("%s: %s", self._switch, error.strerror)
