"""What the demo counts as success, and the readers of logs and status that its figures come from."""

from __future__ import annotations

import io
from pathlib import Path
from types import SimpleNamespace

import pytest
from rich.console import Console

from tools.demo_parts.applications import GREETING, Numbers, first_stamp
from tools.demo_parts.display import Display, LiveDisplay, Row, rate_text, time_text
from tools.demo_parts.run import Heard, counter_checks, dds_checks, message_checks, required_flows, round_trip_check
from tools.demo_parts.watch import dds_text, frames, peers_up, session_text
from tools.netlab import LabError

SAID = set(range(11, 31))


def heard(count: int, sealed: int = 40, opened: int = 40, said: set[int] = SAID) -> Heard:
    return Heard(said, {"robot2": set(sorted(SAID)[:count])}, {"robot2": sealed}, {"robot2": opened})


@pytest.mark.parametrize(("count", "ok"), [(20, True), (16, True), (15, False), (0, False)])
def test_four_in_five_messages_must_be_heard(count, ok):
    (check,) = message_checks(heard(count))
    assert check.ok is ok and f"heard {count} of the 20 messages" in check.text


def test_a_talker_that_said_nothing_is_no_success():
    assert not message_checks(heard(0, said=set()))[0].ok


@pytest.mark.parametrize(("sealed", "opened", "ok"), [(20, 20, True), (19, 20, False), (20, 19, False), (0, 0, False)])
def test_the_ganglia_must_have_carried_what_was_heard(sealed, opened, ok):
    assert counter_checks(heard(20, sealed, opened))[0].ok is ok


def test_nothing_heard_needs_a_frame_all_the_same():
    assert not counter_checks(heard(0, 0, 0))[0].ok
    robots = [SimpleNamespace(name="robot1"), SimpleNamespace(name="robot2")]
    assert required_flows(robots, heard(0)) == {("robot1", "robot2"): 1}
    assert required_flows(robots, heard(17)) == {("robot1", "robot2"): 17}


def test_round_trips_are_summed_up_by_path():
    trips = {"overlay-robot2": [900.0, 1100.0], "overlay-robot3": [1000.0], "underlay-robot2": [80.0]}
    assert round_trip_check(trips) == (True, "round trip, median: overlay 1.00 ms, underlay 0.08 ms")
    assert not round_trip_check({"underlay-robot2": [80.0]}).ok


def test_numbers_are_read_from_a_log_that_grows_in_the_middle_of_a_line(tmp_path: Path):
    log = tmp_path / "listener.log"
    log.write_text(f"[INFO] started\n[INFO] I heard: [{GREETING}: 7]\n[INFO] I heard: [{GREETING}: 1")
    numbers = Numbers(SimpleNamespace(log=log))
    assert numbers.read() == {7}
    with log.open("a") as stream:
        stream.write(f"2]\n[INFO] I heard: [other words: 13]\n[INFO] I heard: [{GREETING}: 14]\n")
    assert numbers.read() == {7, 12, 14}


def peer(name: str, state: str, age: float | None = None) -> dict[str, object]:
    return {"name": name, "state": state, "session_age_s": age, "tx_frames": 5, "rx_frames": 7}


def test_status_is_summed_up():
    status = {"nucleus_state": "registered", "peers": [peer("robot2", "up", 3.0), peer("robot3", "handshaking")]}
    assert peers_up(status) == 1 and peers_up(None) == 0
    assert session_text(status) == "handshaking"
    assert session_text({**status, "peers": [peer("robot2", "up", 3.4), peer("robot3", "up", 61.0)]}) == "up 61 s"
    assert session_text({**status, "peers": []}) == "Nucleus: registered"
    assert (frames(status, "robot2", "tx"), frames(status, "robot2", "rx"), frames(status, "robot9", "rx")) == (5, 7, 0)


def test_the_first_of_many_lines_has_the_time(tmp_path: Path):
    stamps = (("100.250000000", "Listening"), ("101.5", "I heard: [a]"), ("102.0", "I heard: [b]"))
    text = "".join(f"[INFO] [{stamp}] [listener]: {words}\n" for stamp, words in stamps)
    process = SimpleNamespace(name="robot2-listener", log_text=lambda: text)
    assert (first_stamp(process, "Listening"), first_stamp(process, "I heard")) == (100.25, 101.5)
    with pytest.raises(LabError, match="robot2-listener never said 'Publishing'"):
        first_stamp(process, "Publishing")


CACHE = {
    "local_participants": 1, "remote_participants": 1, "announcements": 9, "suppressed": 7, "told": 2, "replayed": 3,
}  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "ok"),
    [
        ({}, True),
        ({"domains": []}, False),
        ({"peers": [{"multicast": "flood"}]}, False),
        ({"peers": []}, False),
        *(({"discovery": {**CACHE, name: 0}}, False) for name in ("told", "replayed", "remote_participants")),
        ({"discovery": {}}, False),
    ],
)
def test_discovery_must_have_taken_the_tuned_path(changes, ok):
    status = {"domains": [0], "peers": [{"multicast": "learned"}], "discovery": CACHE, **changes}
    times, robot = dds_checks({"robot1": status}, {"robot2": 0.25, "robot3": 0.5})
    assert times == (True, "discovery: the listeners heard the talker 0.25 to 0.50 s after both were there")
    assert robot.ok is ok and robot.text.startswith("robot1: DDS domain ")
    assert dds_text({"domains": [0, 7], "peers": [{"multicast": "learned"}, {"multicast": "flood"}]}) == (
        "domain 0, 7, learned 1/2"
    )


def test_units():
    assert rate_text(0) == "0.0 kbit/s" and rate_text(18_040) == "18.0 kbit/s" and rate_text(4e8) == "400.0 Mbit/s"
    assert time_text(871.0) == "0.87 ms"


@pytest.mark.parametrize("kind", [Display, LiveDisplay])
def test_displays_show_phases_with_their_details_and_rows(kind):
    console = Console(file=io.StringIO(), force_terminal=kind is LiveDisplay, width=140)
    with kind(console) as display:
        with display.phase("sessions") as details:
            display.rows([Row("robot1", "10.77.0.1", peers="1/1", chatter="said 12")])
            details.append("engine python")
    text = console.file.getvalue()
    for words in ("sessions", "engine python", "10.77.0.1", "1/1", "said 12"):
        assert words in text


def test_a_phase_that_fails_is_marked_on_a_terminal():
    console = Console(file=io.StringIO(), force_terminal=True, width=140)
    with pytest.raises(ValueError, match="no"), LiveDisplay(console) as display, display.phase("sessions"):
        raise ValueError("no")
    assert "✗" in console.file.getvalue()
