"""Deadlines against a plain dict: the same keys at the same times, whatever is set, moved and removed in between."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from omni_core.session.timers import Deadlines

KEYS = st.integers(0, 5)
TIMES = st.integers(0, 30).map(float)
STEPS = st.lists(st.tuples(KEYS, TIMES | st.none()) | st.tuples(st.just("pop"), TIMES), max_size=80)


@given(STEPS)
def test_agrees_with_a_dict(steps: list[tuple]) -> None:
    deadlines: Deadlines[int] = Deadlines()
    naive: dict[int, float] = {}
    for what, when in steps:
        if what == "pop":
            due = deadlines.pop_due(when)
            expected = [key for key, time in naive.items() if time <= when]
            assert sorted(due) == sorted(expected)
            assert [naive[key] for key in due] == sorted(naive[key] for key in expected), "earliest first"
            for key in expected:
                del naive[key]
        else:
            deadlines.set(what, when)
            naive.pop(what, None)
            if when is not None:
                naive[what] = when
        assert deadlines.next() == min(naive.values(), default=None)
        assert len(deadlines) == len(naive)
        assert all(deadlines.get(key) == naive.get(key) for key in range(6))


def test_moving_on_and_on_leaves_no_garbage() -> None:
    """A session's deadline moves to later with each packet that tells something."""
    deadlines: Deadlines[int] = Deadlines()
    for time in range(1000):
        for key in range(10):
            deadlines.set(key, time + 100.0)
        deadlines.next()
    assert len(deadlines._heap) == 10
