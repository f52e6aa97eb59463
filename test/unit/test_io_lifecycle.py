"""The verbs: idempotent, in any order, undone when they fail; from a loop and from another thread."""

from __future__ import annotations

import asyncio
import random
import threading

import pytest

from omni_core.errors import ConfigError, LocalMisuse, SystemRefused
from omni_core.io.driver_thread import DriverThread
from omni_core.io.lifecycle import Driver, State
from omni_core.io.tasks import end_tasks, in_thread


class Recorder(Driver):
    """Counts what is there; fails or hangs where the test says so."""

    def __init__(self, fail: str = "", hang: str = "") -> None:
        super().__init__()
        self.fail, self.hang = fail, hang
        self.made: set[str] = set()
        self.steps: list[str] = []
        self.hanging = asyncio.Event()

    async def _step(self, name: str) -> None:
        self.steps.append(name)
        await asyncio.sleep(0)
        if self.hang == name:
            self.hanging.set()
            await asyncio.Event().wait()
        if self.fail == name:
            raise ConfigError(name, "is wrong", "mend it")

    async def _configure(self) -> None:
        assert not self.made
        self.made.add("interface")
        await self._step("configure")

    async def _activate(self) -> None:
        assert self.made == {"interface"}
        self.made.add("engine")
        await self._step("activate")

    async def _deactivate(self) -> None:
        await self._step("deactivate")
        self.made.discard("engine")

    async def _cleanup(self) -> None:
        await self._step("cleanup")
        self.made.clear()


MADE = {State.UNCONFIGURED: set(), State.INACTIVE: {"interface"}, State.ACTIVE: {"interface", "engine"}}


async def test_up_and_down():
    driver = Recorder()
    for verb, state in [
        (driver.configure, State.INACTIVE),
        (driver.activate, State.ACTIVE),
        (driver.deactivate, State.INACTIVE),
        (driver.cleanup, State.UNCONFIGURED),
    ]:
        for _ in range(2):
            await verb()
            assert driver.state is state and driver.made == MADE[state]
    assert driver.steps == ["configure", "activate", "deactivate", "cleanup"]


@pytest.mark.parametrize("together", [False, True])
async def test_any_order(seed, together):
    rng = random.Random(seed)
    driver = Recorder()
    verbs = [driver.configure, driver.activate, driver.deactivate, driver.cleanup]
    for _ in range(100):
        chosen = [rng.choice(verbs) for _ in range(rng.randint(1, 4) if together else 1)]
        await asyncio.gather(*(verb() for verb in chosen))
        assert driver.made == MADE[driver.state]
    await driver.cleanup()
    assert driver.made == set()


@pytest.mark.parametrize(("fail", "state"), [("configure", State.UNCONFIGURED), ("activate", State.INACTIVE)])
async def test_a_failed_step_is_undone_and_may_be_tried_again(fail, state):
    driver = Recorder(fail)
    for _ in range(3):
        with pytest.raises(ConfigError, match="mend it"):
            await driver.activate()
        assert driver.state is state and driver.made == MADE[state]
    driver.fail = ""
    await driver.activate()
    assert driver.state is State.ACTIVE


@pytest.mark.parametrize("hang", ["configure", "activate"])
async def test_a_cancelled_step_is_undone(hang):
    driver = Recorder(hang=hang)
    task = asyncio.create_task(driver.activate())
    await asyncio.wait_for(driver.hanging.wait(), 5)
    await end_tasks([task])
    assert driver.made == MADE[driver.state] and driver.state is not State.ACTIVE


async def test_run_ends_by_request():
    driver = Recorder()
    seen = []
    await driver.run(lambda: (seen.append(driver.state), driver.request_stop()))
    assert seen == [State.ACTIVE] and driver.made == set() and driver.state is State.UNCONFIGURED


async def test_run_raises_the_fault():
    driver = Recorder()
    with pytest.raises(SystemRefused, match="it went away"):
        await driver.run(lambda: driver._fail(SystemRefused("omni0", "it went away", "start again")))
    assert driver.made == set()
    await driver.configure()
    assert driver.fault is None


async def test_run_raises_what_configure_raises():
    driver = Recorder("configure")
    with pytest.raises(ConfigError):
        await driver.run()
    assert driver.made == set()


async def test_cancelled_blocking_work_is_waited_for():
    entered, leave, done = threading.Event(), threading.Event(), []

    def work() -> None:
        entered.set()
        leave.wait(5)
        done.append(True)

    task = asyncio.create_task(in_thread(work))
    await asyncio.to_thread(entered.wait, 5)
    task.cancel()
    await asyncio.sleep(0)
    assert not task.done()
    leave.set()
    await asyncio.wait([task])
    assert task.cancelled() and done == [True]


# --- from another thread ----------------------------------------------------------------------------------------------


@pytest.fixture
def make_thread():
    threads = []

    def make(**options) -> DriverThread:
        threads.append(DriverThread(lambda: Recorder(**options), "omni test"))
        return threads[-1]

    yield make
    for thread in threads:
        thread.driver.hang = ""
        thread.close()
    assert not [thread for thread in threading.enumerate() if thread.name == "omni test"]


def test_verbs_block_until_done(make_thread):
    thread = make_thread()
    thread.configure()
    assert thread.state is State.INACTIVE
    thread.activate()
    assert thread.state is State.ACTIVE and thread.call(lambda: len(thread.driver.made)) == 2
    thread.deactivate()
    thread.cleanup()
    assert thread.state is State.UNCONFIGURED
    thread.close()
    thread.close()
    with pytest.raises(LocalMisuse):
        thread.configure()


def test_closing_removes_everything(make_thread):
    thread = make_thread()
    thread.activate()
    thread.close()
    assert thread.driver.made == set()


def test_errors_cross_the_thread(make_thread):
    thread = make_thread(fail="configure")
    with pytest.raises(ConfigError, match="mend it"):
        thread.configure()
    assert thread.state is State.UNCONFIGURED


def test_a_verb_that_hangs_is_given_up_and_undone(make_thread):
    thread = make_thread(hang="configure")
    with pytest.raises(SystemRefused, match=r"no end after 0.1 s"):
        thread.configure(timeout=0.1)
    thread.driver.hang = ""
    thread.cleanup()
    assert thread.driver.made == set() and thread.state is State.UNCONFIGURED
    thread.activate()


def test_it_does_not_wait_for_itself(make_thread):
    thread = make_thread()
    with pytest.raises(LocalMisuse):
        thread.call(thread.configure)


def test_a_driver_that_cannot_be_built_leaves_no_thread():
    def broken() -> Recorder:
        raise ConfigError("interface", "is wrong", "mend it")

    with pytest.raises(ConfigError):
        DriverThread(broken, "omni broken")
    assert not [thread for thread in threading.enumerate() if thread.name == "omni broken"]


class Patient(Recorder):
    """Its end waits for others."""

    def __init__(self) -> None:
        super().__init__()
        self.patience = 0.2
        self.enough = asyncio.Event()

    def hurry(self) -> None:
        self.enough.set()

    async def _deactivate(self) -> None:
        await self.enough.wait()
        await super()._deactivate()


def test_an_end_that_waits_for_others_has_the_time_and_can_be_hurried():
    thread = DriverThread(Patient, "omni test")
    thread.activate()
    with pytest.raises(SystemRefused, match=r"no end after 0\.3 s"):
        thread.deactivate(timeout=0.1)
    thread.hurry()
    thread.close()
    thread.hurry()


def test_hurrying_from_another_thread():
    thread = DriverThread(Patient, "omni test")
    thread.activate()
    ending = threading.Thread(target=thread.close)
    ending.start()
    thread.hurry()
    ending.join(10)
    assert not ending.is_alive() and thread.driver.made == set()
