"""Where the robots stand in the graph: on a circle, ordered so that those who talk most are close. Deterministic."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

ROUNDS = 40  # of looking for a better order; each is cheap


def circle(count: int) -> list[tuple[float, float]]:
    """Positions in -1..1, the first at the top, clockwise. One: the middle; many: on two rings, the odd ones inside."""
    if count <= 1:
        return [(0.0, 0.0)] * count
    inner = 0.62 if count > 16 else 1.0
    return [
        (math.sin(angle) * radius, -math.cos(angle) * radius)
        for index in range(count)
        for angle, radius in [(2 * math.pi * index / count, inner if index % 2 else 1.0)]
    ]


def arrange(keys: Sequence[str], pairs: Iterable[tuple[str, str]]) -> dict[str, tuple[float, float]]:
    """Key -> position. ``pairs``: who talks to whom; all with all gives the order of ``keys``."""
    edges = [(a, b) for a, b in pairs if a != b]
    order = list(keys)
    if len(order) > 3 and len(edges) < len(order) * (len(order) - 1) // 2:
        neighbours: dict[str, list[str]] = {key: [] for key in order}
        for a, b in edges:
            if a in neighbours and b in neighbours:
                neighbours[a].append(b)
                neighbours[b].append(a)
        for _ in range(ROUNDS):
            place = {key: index for index, key in enumerate(order)}
            better = sorted(
                order, key=lambda key: (_middle([place[k] for k in neighbours[key]], place[key]), place[key])
            )
            if better == order:
                break
            order = better
    return dict(zip(order, circle(len(order)), strict=True))


def _middle(places: list[int], own: int) -> float:
    return (sum(places) + own) / (len(places) + 1)
