"""What `omni up` and `omni nucleus` do around a driver: signals, lines, the first registration."""

from __future__ import annotations

import asyncio
import logging
import os
import signal

import pytest

from omni_core.cli.foreground import STOP_SIGNALS, progress_lines, run_driver
from omni_core.cli.up import NotRegistered, Registration
from omni_core.engines.ganglion_events import NucleusChanged, Warned
from omni_core.errors import OmniError, RegistrationRefused, SystemRefused
from omni_core.io.lifecycle import Driver


class FakeDriver(Driver):
    """Notes its steps. ``hang``: the step in which it stays until it is cancelled."""

    def __init__(self, hang: str = "") -> None:
        super().__init__()
        self.hang = hang
        self.steps: list[str] = []
        self.reached = asyncio.Event()

    async def step(self, name: str) -> None:
        self.steps.append(name)
        if name == self.hang:
            self.reached.set()
            await asyncio.Event().wait()

    async def _configure(self) -> None:
        await self.step("configure")

    async def _activate(self) -> None:
        await self.step("activate")

    async def _deactivate(self) -> None:
        await self.step("deactivate")

    async def _cleanup(self) -> None:
        await self.step("cleanup")


def nothing() -> None:
    pass


@pytest.mark.parametrize("number", STOP_SIGNALS)
async def test_a_signal_ends_an_active_driver(number: signal.Signals) -> None:
    driver = FakeDriver()
    await asyncio.wait_for(run_driver(driver, lambda: os.kill(os.getpid(), number)), 5)
    assert driver.steps == ["configure", "activate", "deactivate", "cleanup"]


@pytest.mark.parametrize(
    ("hang", "steps"),
    [("configure", ["configure", "cleanup"]), ("activate", ["configure", "activate", "deactivate", "cleanup"])],
)
async def test_a_signal_ends_a_start_that_hangs(hang: str, steps: list[str]) -> None:
    driver = FakeDriver(hang)
    running = asyncio.create_task(run_driver(driver, nothing))
    await asyncio.wait_for(driver.reached.wait(), 5)
    os.kill(os.getpid(), signal.SIGTERM)
    await asyncio.wait_for(running, 5)
    assert driver.steps == steps


async def test_further_signals_do_not_disturb_the_end() -> None:
    driver = FakeDriver()
    end = asyncio.Event()

    async def slow_cleanup() -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGINT)
        await asyncio.sleep(0)
        end.set()

    driver._cleanup = slow_cleanup  # type: ignore[method-assign]
    await asyncio.wait_for(run_driver(driver, lambda: os.kill(os.getpid(), signal.SIGTERM)), 5)
    assert end.is_set()


async def test_a_second_signal_hurries_the_end() -> None:
    driver = FakeDriver()
    hurried = asyncio.Event()
    driver.hurry = hurried.set  # type: ignore[method-assign]

    async def patient_end() -> None:
        os.kill(os.getpid(), signal.SIGINT)
        await hurried.wait()

    driver._deactivate = patient_end  # type: ignore[method-assign]
    await asyncio.wait_for(run_driver(driver, lambda: os.kill(os.getpid(), signal.SIGINT)), 5)
    assert driver.steps[-1] == "cleanup"


async def test_a_fault_is_raised_after_the_cleanup() -> None:
    driver = FakeDriver()
    fault = SystemRefused("omni0", "is gone", "start again")
    with pytest.raises(SystemRefused) as caught:
        await asyncio.wait_for(run_driver(driver, lambda: driver._fail(fault)), 5)
    assert caught.value is fault
    assert driver.steps[-1] == "cleanup"


async def test_signal_handlers_are_put_back() -> None:
    before = signal.getsignal(signal.SIGTERM)
    driver = FakeDriver()
    await run_driver(driver, driver.request_stop)
    assert signal.getsignal(signal.SIGTERM) == before


def test_lines_of_progress(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_lines(debug=False):
        logging.getLogger("omni_core.io.ganglion_driver").info("robot-2 is up")
        logging.getLogger("omni_core.io.ganglion_driver").warning("a robot has our VIP")
        logging.getLogger("omni_core.io.underlay").info("not for people")
        logging.getLogger("omni_core.io.underlay").warning("for people")
    logging.getLogger("omni_core.io.ganglion_driver").info("afterwards")
    lines = [line.partition(" ")[2] for line in capsys.readouterr().out.splitlines()]
    assert lines == ["robot-2 is up", "warning: a robot has our VIP", "warning: for people"]


def test_debug_shows_all_logs(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_lines(debug=True):
        logging.getLogger("omni_core.io.underlay").debug("every detail")
    assert "every detail" in capsys.readouterr().out


def registration() -> tuple[Registration, list[OmniError]]:
    ends: list[OmniError] = []
    following = Registration()
    following.on_refused = ends.append
    return following, ends


def test_a_first_registration_that_is_refused_ends_it() -> None:
    following, ends = registration()
    following.on_event(Warned("something else"))
    following.on_event(NucleusChanged("connecting", "no answer"))
    assert ends == []
    following.on_event(NucleusChanged("refused", "VIP taken"))
    assert [type(end) for end in ends] == [RegistrationRefused]


def test_a_registered_ganglion_goes_on_whatever_the_nucleus_says() -> None:
    following, ends = registration()
    following.on_event(NucleusChanged("registered", "hello"))
    following.on_event(NucleusChanged("refused", "VIP taken"))
    following.expire(1.0)
    assert ends == []


def test_a_nucleus_that_is_silent_for_too_long() -> None:
    following, ends = registration()
    following.on_event(NucleusChanged("connecting", "no answer from 10.0.0.1"))
    following.expire(2.0)
    assert [type(end) for end in ends] == [NotRegistered]
    assert "not registered after 2 s: no answer from 10.0.0.1. Fix: " in str(ends[0])
    assert ends[0].exit_code == 5
