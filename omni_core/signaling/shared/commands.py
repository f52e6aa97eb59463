"""What a Nucleus asks of the shared store: one script each (io/redis_scripts/). A reply is a list and begins with a
word. Times are in ms.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from omni_core.types import PublicKey

Reply: TypeAlias = "list[Any]"


@dataclass(eq=False, slots=True)
class Command:
    """``done`` gets the reply; it is not called for one that comes after the connection was given up."""

    script: str
    args: tuple[bytes | int, ...]
    done: Callable[[Reply, float], None] | None = None
    key: PublicKey | None = None
    generation: int = field(default=0)


class Unexpected(ValueError):
    """A reply or an entry that no script of ours makes."""


def word(reply: Reply) -> str:
    try:
        return bytes(reply[0]).decode()
    except (TypeError, IndexError, ValueError):
        raise Unexpected("a reply without its first word") from None


def pairs(flat: list[bytes]) -> list[tuple[bytes, bytes]]:
    """A hash, as a script returns one."""
    return list(zip(flat[::2], flat[1::2], strict=True))
