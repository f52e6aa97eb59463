"""`omni nucleus admin` and a real Nucleus on loopback, whose allow list is a real file."""

from __future__ import annotations

import json
from collections.abc import Iterator
from ipaddress import IPv4Address
from pathlib import Path

import pytest
from support.command_line import Caller
from support.edges import make_edge

from omni_core.config import nucleus
from omni_core.crypto.identity import Identity, key_text
from omni_core.io.clock import monotonic
from omni_core.io.driver_thread import DriverThread
from omni_core.io.nucleus_driver import NucleusDriver
from omni_core.signaling.edge import Edge
from omni_core.signaling.leases import Vip4Pool
from tools.netlab import wait_for


def identity(number: int) -> Identity:
    return Identity.from_seed(bytes([number]) * 32)


def text_of(number: int) -> str:
    return key_text(identity(number).public_key)


class Nucleus:
    """``clusters``: fleet and yard; edges are put into its store, as registrations are."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.allow = directory / "fleet.allow"
        self.allow.write_text("".join(f"{text_of(number)}\n" for number in range(1, 9)))
        self.thread: DriverThread[NucleusDriver]
        self.start()

    @property
    def run_dir(self) -> str:
        return str(self.directory / "run")

    @property
    def driver(self) -> NucleusDriver:
        return self.thread.driver

    def start(self) -> None:
        config = nucleus.validate(
            {
                "key_file": str(self.directory / "nucleus.key"), "clusters": ["fleet", "yard"], "listen_port": 0,
                "listen_address": ["127.0.0.1"], "http_listen": "", "run_dir": self.run_dir, "drain_time": 0.0,
                "vip4_pools": ["fleet=10.77.0.0/16"], "allow_files": [f"fleet={self.allow}"],
            }
        )  # fmt: skip
        self.thread = DriverThread(lambda: NucleusDriver(config))
        self.thread.activate()

    def restart(self) -> None:
        self.thread.close()
        self.start()

    def put(self, number: int, name: str, cluster: str = "fleet", *, leased: bool = False) -> Edge:
        edge = make_edge(number, cluster, name=name, key=identity(number).public_key)

        async def work() -> None:
            engine, now = self.driver.engine, monotonic()
            if leased:
                pool = Vip4Pool(IPv4Address(edge.vip4), IPv4Address(edge.vip4), 16)
                engine.store.lease(cluster, edge.key, edge.vip4, pool, now, lambda *_: None)
            engine.store.claim(edge, now + 90, now, lambda conflict, _: None)

        self.thread.run(work())
        return edge

    def names(self) -> list[str]:
        async def work() -> list[str]:
            store = self.driver.engine.store
            return sorted(edge.name for cluster in ("fleet", "yard") for edge in store.live(cluster))

        return self.thread.run(work())


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Nucleus]:
    found = Nucleus(tmp_path)
    yield found
    found.thread.close()


@pytest.fixture
def omni(capsys: pytest.CaptureFixture[str]) -> Caller:
    return Caller(capsys)


def test_list(running: Nucleus, omni: Caller) -> None:
    running.put(1, "robot-1", leased=True)
    running.put(2, "robot-2")
    running.put(3, "truck", "yard")
    outcome = omni("nucleus", "admin", "list", "--run-dir", running.run_dir)
    assert (outcome.code, outcome.err) == (0, "")
    for text in ("robot-1", "robot-2", "truck", "10.77.0.1", "10.0.0.1:51820", text_of(1)[:8], "held", "yard"):
        assert text in outcome.out, text
    answer = json.loads(omni("nucleus", "admin", "list", "--json", "--leases", "--run-dir", running.run_dir).out)
    first = answer["edges"][0]
    assert (first["cluster"], first["name"], first["vip4"]) == ("fleet", "robot-1", "10.77.0.1")
    assert first["public_key"] == text_of(1) and first["lease_s"] == nucleus.constants.LEASE_TIME
    assert 0 <= first["heard_s"] < 30 and 0 <= first["since_s"] < 30
    assert [(lease["vip4"], lease["live"]) for lease in answer["leases"]] == [("10.77.0.1", True)]
    only = json.loads(omni("nucleus", "admin", "list", "--json", "--cluster", "yard", "--run-dir", running.run_dir).out)
    assert [edge["name"] for edge in only["edges"]] == ["truck"]


@pytest.mark.parametrize("how", [text_of(1), "robot-1", "10.77.0.1", text_of(1)[:8], "::1"])
def test_kick_by_key_name_and_vip(running: Nucleus, omni: Caller, how: str) -> None:
    running.put(1, "robot-1")
    running.put(2, "robot-2")
    outcome = omni("nucleus", "admin", "kick", how, "--run-dir", running.run_dir)
    assert outcome.code == 0 and "robot-1" in outcome.out and "is unregistered" in outcome.out, outcome
    assert running.names() == ["robot-2"]


def test_a_name_that_two_edges_have_is_an_error_that_names_them(running: Nucleus, omni: Caller) -> None:
    running.put(1, "robot")
    running.put(2, "robot")
    running.put(3, "robot", "yard")
    outcome = omni("nucleus", "admin", "kick", "robot", "--run-dir", running.run_dir)
    outcome.assert_refused(2, "edge", "is 3 edges", text_of(1), text_of(2), text_of(3))
    outcome = omni("nucleus", "admin", "kick", "robot", "--cluster", "yard", "--run-dir", running.run_dir)
    assert outcome.code == 0
    assert running.names() == ["robot", "robot"]


@pytest.mark.parametrize(
    ("words", "field", "problem"),
    [
        (("kick", "nobody"), "edge", "there is no edge 'nobody'"),
        (("kick", "10.77.0.99"), "edge", "there is no edge"),
        (("deny", "nobody"), "edge", "there is no edge"),
        (("list", "--cluster", "moon"), "cluster", "serves no 'moon'"),
        (("deny", "robot-1", "--for", "soon"), "command line", "is not a time"),
        (("deny", "robot-1", "--for", "-5s"), "command line", ""),
        (("deny", "robot-1", "--reason", "x" * 200), "reason", "is not one line"),
        (("deny", "robot-1", "--reason", "a\nb"), "reason", "is not one line"),
        (("deny",), "command line", "required: EDGE"),
        (("banish", "robot-1"), "command line", "invalid choice"),
        ((), "command line", "required: VERB"),
    ],
)
def test_what_an_administrator_can_get_wrong(
    running: Nucleus, omni: Caller, words: tuple[str, ...], field: str, problem: str
) -> None:
    running.put(1, "robot-1")
    more = ("--run-dir", running.run_dir) if words else ()
    omni("nucleus", "admin", *words, *more).assert_refused(2, field, problem)
    assert running.names() == ["robot-1"]


def test_denials_outlive_the_nucleus(running: Nucleus, omni: Caller) -> None:
    running.put(1, "robot-1")
    where = ("--run-dir", running.run_dir)
    outcome = omni("nucleus", "admin", "deny", "robot-1", "--for", "1h", "--reason", "in repair", *where)
    assert outcome.code == 0 and "is shut out for 60 min" in outcome.out, outcome
    assert omni("nucleus", "admin", "deny", text_of(5), *where).code == 0, "a key that was never here"
    assert running.names() == []
    running.restart()
    shown = omni("nucleus", "admin", "list", "--denied", *where).out
    for text in (text_of(1), "in repair", "60 min", text_of(5), "for ever"):
        assert text in shown, shown
    assert "may join again" in omni("nucleus", "admin", "allow", text_of(1)[:8], *where).out
    assert "was not shut out" in omni("nucleus", "admin", "allow", text_of(2), *where).out
    running.restart()
    denied = json.loads(omni("nucleus", "admin", "list", "--denied", "--json", *where).out)["denied"]
    assert [each["public_key"] for each in denied] == [text_of(5)]


def test_leases_outlive_the_nucleus(running: Nucleus, omni: Caller) -> None:
    running.put(1, "robot-1", leased=True)
    running.restart()
    answer = json.loads(omni("nucleus", "admin", "list", "--leases", "--json", "--run-dir", running.run_dir).out)
    assert answer["edges"] == []
    assert [(lease["vip4"], lease["public_key"]) for lease in answer["leases"]] == [("10.77.0.1", text_of(1))]


def test_an_allow_file_that_changes_takes_effect(running: Nucleus, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    running.put(1, "robot-1")
    running.put(2, "robot-2")
    running.put(3, "truck", "yard")
    running.allow.write_text(f"{text_of(1)}\nrubbish\n")
    wait_for(lambda: "the allow list of fleet stays as it was" in caplog.text, 10, "a line")
    assert f"{running.allow}, line 2" in caplog.text
    assert running.names() == ["robot-1", "robot-2", "truck"]
    running.allow.write_text(f"{text_of(1)} # the other one was sold\n")
    wait_for(lambda: running.names() == ["robot-1", "truck"], 10, "robot-2 is out")
    assert "allow list of fleet: 1 keys, 1 edges taken out" in caplog.text
    assert caplog.text.count("stays as it was") == 1


def test_without_a_nucleus_it_says_so(tmp_path: Path, omni: Caller) -> None:
    omni("nucleus", "admin", "list", "--run-dir", tmp_path).assert_refused(3, "admin socket", "nobody answers")
