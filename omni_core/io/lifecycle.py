"""The verbs of a managed node, as ROS 2 and the command line use them: idempotent, in any order, never half done.

    unconfigured --configure--> inactive --activate--> active
         ^------- cleanup ---------+ ^---- deactivate ----+
         ^------------------- cleanup --------------------+

``activate`` configures first where that is missing; ``cleanup`` deactivates first. ``leave`` is a ``cleanup`` that lets
go on what can go on without this process, for a later one to take over. A step that fails is undone whole
and raises ConfigError or SystemRefused. Verbs of one driver never overlap.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from enum import Enum

from omni_core.errors import OmniError

logger = logging.getLogger(__name__)


class State(Enum):
    UNCONFIGURED = "unconfigured"
    INACTIVE = "inactive"
    ACTIVE = "active"


class Driver:
    """Base of GanglionDriver and NucleusDriver, which fill in the four steps."""

    def __init__(self) -> None:
        self.state = State.UNCONFIGURED
        self.fault: OmniError | None = None  # what ended it, if nobody asked it to stop
        self.on_stopping: Callable[[], None] = lambda: None  # called on the event loop when ``stopping`` becomes true
        self._verb = asyncio.Lock()
        self._stopping = asyncio.Event()
        self._keep = False  # the end, now or asked for, is a ``leave``
        self.left_running = False  # the last ``cleanup`` left something that goes on
        self.patience = 0.0  # s that an orderly end may take for the sake of others

    async def configure(self) -> None:
        """Files read, sockets bound, interfaces made. Raises ConfigError or SystemRefused with nothing left behind."""
        async with self._verb:
            await self._to_inactive()

    async def activate(self) -> None:
        """The engine runs: registering, connecting, forwarding."""
        async with self._verb:
            await self._to_inactive()
            if self.state is State.INACTIVE:
                try:
                    await self._activate()
                except BaseException:
                    await self._deactivate()
                    raise
                self.state = State.ACTIVE

    async def deactivate(self) -> None:
        """No forwarding, sessions ended, interface and sockets stay."""
        async with self._verb:
            await self._from_active()

    async def cleanup(self) -> None:
        """Everything removed."""
        async with self._verb:
            await self._from_active()
            if self.state is State.INACTIVE:
                self.state = State.UNCONFIGURED
                try:
                    await self._cleanup()
                finally:
                    self._keep = False
            self._stopping.clear()

    async def leave(self) -> None:
        """What can go on without this process does, the rest is removed."""
        self._keep = True
        try:
            await self.cleanup()
        finally:
            self._keep = False

    def request_stop(self, keep: bool = False) -> None:
        """Let ``run`` end. ``keep``: what ends it, ``cleanup`` or first ``deactivate``, is the way of ``leave``."""
        self._keep = keep
        self._stopping.set()
        self.on_stopping()

    def hurry(self) -> None:
        """An end that is under way, or comes, is not to wait for others any more."""

    @property
    def stopping(self) -> bool:
        """Asked to stop, or a fault. May be read from any thread."""
        return self._stopping.is_set()

    async def run(self, on_active: Callable[[], None] | None = None) -> None:
        """Active until ``request_stop`` or a fault, then everything removed. Raises as ``activate``, or the fault."""
        try:
            await self.activate()
            if on_active is not None:
                on_active()
            await self._stopping.wait()
        finally:
            await self.cleanup()
        if self.fault is not None:
            raise self.fault

    def _fail(self, fault: OmniError) -> None:
        """Something was taken away under the running driver."""
        logger.error("%s", fault)
        self.fault = fault
        self._keep = False
        self._stopping.set()
        self.on_stopping()

    async def _to_inactive(self) -> None:
        if self.state is not State.UNCONFIGURED:
            return
        self.fault = None
        self.left_running = False
        try:
            await self._configure()
        except BaseException:
            await self._cleanup()
            raise
        self.state = State.INACTIVE

    async def _from_active(self) -> None:
        if self.state is State.ACTIVE:
            self.state = State.INACTIVE
            await self._deactivate()

    async def _configure(self) -> None:
        raise NotImplementedError

    async def _activate(self) -> None:
        raise NotImplementedError

    async def _deactivate(self) -> None:
        """From any point of ``_activate``."""
        raise NotImplementedError

    async def _cleanup(self) -> None:
        """From any point of ``_configure``."""
        raise NotImplementedError
