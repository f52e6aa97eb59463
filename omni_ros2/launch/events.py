"""The overlay is up: an event, and its handler."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from launch import Event, EventHandler, SomeEntitiesType


class OverlayUp(Event):
    """A Ganglion is active, its interface is there, and the environment is set for DDS. Once for each start of it."""

    name = "omni_ros2.OverlayUp"

    def __init__(self, interface: str, environment: Mapping[str, str]) -> None:
        self.interface = interface
        self.environment = dict(environment)  # what was set for DDS; empty with dds "none"


class OnOverlayUp(EventHandler):
    """Starts ``entities`` when the overlay is up for the first time: DDS looks for interfaces when a node starts.

    ``interface``: of which Ganglion, where the launch has several; None: any.
    """

    def __init__(self, entities: SomeEntitiesType, *, interface: str | None = None, **kwargs: Any) -> None:
        kwargs.setdefault("handle_once", True)
        super().__init__(
            matcher=lambda event: isinstance(event, OverlayUp) and interface in (None, event.interface),
            entities=entities,
            **kwargs,
        )
