"""How long to wait before an engine that died is started again."""

from __future__ import annotations

import asyncio

import pytest

from omni_core.errors import SystemRefused
from omni_core.io import revival as module
from omni_core.io.native.client import EngineGone
from omni_core.io.native.deaths import Deaths
from omni_core.io.revival import Revival


def test_patience_grows_and_is_forgotten_after_a_long_life() -> None:
    deaths = Deaths()
    assert [deaths.add(now) for now in (0.0, 1.0, 3.0, 6.0, 11.0, 20.0, 40.0, 75.0, 110.0)] == [
        0, 1, 2, 4, 8, 16, 30, 30, 30,
    ]  # fmt: skip
    assert deaths.add(110.0 + 30.0 + 61.0) == 0
    deaths.add(202.0)
    deaths.forget()
    assert deaths.add(203.0) == 0


def test_three_within_a_minute_are_many() -> None:
    deaths = Deaths()
    seen = []
    for now in (0.0, 50.0, 100.0, 110.0, 111.0):
        deaths.add(now)
        seen.append(deaths.many)
    assert seen == [False, False, False, True, True]


class Driver:
    """``outcomes``: what each replacement comes to, None is success."""

    def __init__(self, *outcomes: SystemRefused | None) -> None:
        self.outcomes = list(outcomes)
        self.asked: list[str] = []
        self.revival = Revival("omni0", self.replace)

    async def replace(self, reason: str) -> None:
        self.asked.append(reason)
        outcome = self.outcomes.pop(0)
        if outcome is not None:
            raise outcome

    async def until(self, count: int) -> None:
        while len(self.asked) < count:  # noqa: ASYNC110 - nothing else goes on
            await asyncio.sleep(0)


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Instead of waiting."""
    slept: list[float] = []
    real = asyncio.sleep

    async def sleep(delay: float) -> None:
        if delay:
            slept.append(delay)
        await real(0)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    return slept


GONE = EngineGone("it has ended")
REFUSED = SystemRefused("omni-native", "it is not built", "build it")


async def test_it_is_replaced(waits: list[float], caplog: pytest.LogCaptureFixture) -> None:
    driver = Driver(None)
    driver.revival.begin(GONE, falls_back=True)
    await driver.until(1)
    assert (driver.asked, waits) == ([""], [])
    assert caplog.messages == [
        "omni0: the engine has ended (omni-native: it has ended); it is started again, sessions begin anew"
    ]
    await driver.revival.end()


async def test_it_is_tried_until_it_works(waits: list[float], caplog: pytest.LogCaptureFixture) -> None:
    driver = Driver(REFUSED, REFUSED, REFUSED, None)
    driver.revival.begin(GONE, falls_back=False)
    await driver.until(4)
    assert (driver.asked, waits) == (["", "", "", ""], [1, 2, 4])
    assert "it is not built" in caplog.messages[1]


async def test_another_engine_takes_its_place(waits: list[float], caplog: pytest.LogCaptureFixture) -> None:
    driver = Driver(None, None, None)
    for number in range(3):
        driver.revival.begin(GONE, falls_back=True)
        await driver.until(number + 1)
    assert driver.asked == ["", "", "the engine native ended three times within a minute"]
    assert "another engine takes its place" in caplog.messages[-1]


async def test_one_that_dies_while_the_one_before_is_being_replaced(waits: list[float]) -> None:
    driver = Driver(None, None)
    real = driver.replace

    async def replace(reason: str) -> None:
        if not driver.asked:
            driver.revival.begin(GONE, falls_back=False)
        await real(reason)

    driver.revival._replace = replace
    driver.revival.begin(GONE, falls_back=False)
    await driver.until(2)
    assert waits == [1]


async def test_the_end_waits_for_nothing() -> None:
    driver = Driver(REFUSED)
    driver.revival.begin(GONE, falls_back=False)
    await driver.until(1)
    await driver.revival.end()
    await driver.revival.end()
    assert len(driver.asked) == 1 and module.logger.name == "omni_core.io.revival"
