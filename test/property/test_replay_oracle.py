"""The replay window against a set of everything ever accepted."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from omni_core.constants import REJECT_AFTER_MESSAGES, REPLAY_WINDOW
from omni_core.session.replay import ReplayWindow


class NaiveWindow:
    def __init__(self) -> None:
        self.seen: set[int] = set()
        self.highest = -1

    def accept(self, sequence: int) -> bool:
        if sequence >= REJECT_AFTER_MESSAGES or sequence < self.highest - REPLAY_WINDOW or sequence in self.seen:
            return False
        self.seen.add(sequence)
        self.highest = max(self.highest, sequence)
        return True


def compare(sequences: list[int]) -> None:
    window, naive = ReplayWindow(), NaiveWindow()
    for sequence in sequences:
        fresh = window.check(sequence)
        assert fresh == naive.accept(sequence), f"sequence {sequence}, highest {naive.highest}"
        if fresh:
            window.update(sequence)
        assert window.highest == naive.highest


near_edges = st.one_of(
    st.integers(0, 300),
    st.integers(0, 4 * REPLAY_WINDOW),
    st.builds(lambda k, d: max(0, k * 64 + d), st.integers(0, 400), st.integers(-2, 2)),
    st.integers(REJECT_AFTER_MESSAGES - 2 * REPLAY_WINDOW, REJECT_AFTER_MESSAGES + 3),
)


@given(st.lists(near_edges, max_size=200))
def test_any_sequences(sequences: list[int]) -> None:
    compare(sequences)


@pytest.mark.parametrize("step", [1, 3, 50, 700, 5000, 20_000])
def test_random_walk(seed: int, step: int) -> None:
    draw = random.Random(f"{seed} {step}")
    head, sequences = 0, []
    for _ in range(20_000):
        head += draw.randrange(step + 1)
        sequences.append(max(0, head - int(draw.expovariate(1 / draw.choice((1, 60, REPLAY_WINDOW))))))
    compare(sequences)
