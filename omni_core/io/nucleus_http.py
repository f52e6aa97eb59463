"""Metrics and health of a Nucleus over HTTP: /metrics, /healthz, /readyz.

They are asked in a thread of their own and put their question to the Nucleus's event loop; a loop that does not answer
is the answer of /healthz.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Mapping
from typing import TypeVar

from omni_core.errors import SystemRefused
from omni_core.io.http_port import HttpPort, Response, is_local, listen, text_response
from omni_core.io.nucleus_snapshot import Readiness, Snapshot
from omni_core.types import Endpoint

logger = logging.getLogger(__name__)

ANSWER_TIME = 2.0  # s that the event loop may take; a batch of datagrams takes milliseconds
FIELD = "http_listen"

T = TypeVar("T")


class NucleusHttp:
    def __init__(self, address: Endpoint, snapshot: Callable[[], Snapshot], readiness: Callable[[], Readiness]) -> None:
        """Bound, but nothing answered before ``start``. On the event loop where both callables may run.

        Raises ConfigError("http_listen"), and SystemRefused where prometheus-client is missing.
        """
        try:
            from omni_core.io import nucleus_metrics
        except ImportError:
            raise SystemRefused(
                FIELD,
                "the Python package prometheus-client is missing",
                "pip install prometheus-client, or set http_listen to an empty text for neither metrics nor health",
            ) from None
        self._render = nucleus_metrics.render
        self._snapshot = snapshot
        self._readiness = readiness
        self._loop = asyncio.get_running_loop()
        handlers = {"/metrics": self._metrics, "/healthz": self._healthz, "/readyz": self._readyz}
        self._port = HttpPort(listen(address, FIELD), handlers)
        if not is_local(self._port.address):
            logger.warning(
                "http_listen %s: whoever reaches this address can read the metrics, which are not authenticated",
                self._port.address,
            )

    @property
    def address(self) -> Endpoint:
        return self._port.address

    def start(self) -> None:
        self._port.start()

    def close(self) -> None:
        """Waits for the thread, which may wait for the event loop: to be called beside it. Idempotent."""
        self._port.close()

    async def _ask(self, question: Callable[[], T]) -> T:
        """Raises TimeoutError when the event loop does not answer."""

        async def work() -> T:
            return question()

        return await asyncio.wait_for(
            asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work(), self._loop)), ANSWER_TIME
        )

    async def _metrics(self, headers: Mapping[str, str]) -> Response:
        try:
            snapshot = await self._ask(self._snapshot)
        except asyncio.TimeoutError:
            return text_response(503, _BLOCKED)
        content_type, body = self._render(snapshot, headers.get("accept", ""))
        return Response(200, content_type, body)

    async def _healthz(self, headers: Mapping[str, str]) -> Response:
        try:
            readiness = await self._ask(self._readiness)
        except asyncio.TimeoutError:
            return _json(503, {"alive": False, "reason": _BLOCKED})
        return _json(200, {"alive": True, "state": readiness.state})

    async def _readyz(self, headers: Mapping[str, str]) -> Response:
        try:
            found = await self._ask(self._readiness)
        except asyncio.TimeoutError:
            return _json(503, {"ready": False, "reason": _BLOCKED})
        body = {"ready": not found.reason, "state": found.state, "draining": found.draining, "store": found.store}
        return _json(503, {**body, "reason": found.reason}) if found.reason else _json(200, body)


_BLOCKED = f"the event loop has not answered for {ANSWER_TIME:g} s"


def _json(status: int, body: Mapping[str, object]) -> Response:
    return Response(status, "application/json", json.dumps(body).encode() + b"\n")
