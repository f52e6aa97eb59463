"""Commands that ask a running Ganglion (status, peers, ping, wait): a real admin socket with made-up answers."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from support.command_line import OMNI, REPO, Caller, served

from omni_core.cli import drops, wait
from omni_core.drops import DropReason
from omni_core.engines.nucleus_status import ClusterStatus, NucleusStatus, StoreStatus
from omni_core.engines.status import GanglionStatus, GossipStatus, NucleusLink, PeerStatus, SessionStatus
from omni_core.errors import ConfigError, RegistrationRefused

KEY = "T-8gb5i1wpLqkowohhDq9CCJGqGPmQt47fCdX7LRoFg"


def peer(name: str, state: str = "up", **changes: Any) -> PeerStatus:
    values: dict[str, Any] = {
        "public_key": (name + KEY)[:43], "name": name, "vip4": "10.77.0.2", "vip6": "fd6f:6d6e::2",
        "mac": "02:00:00:00:00:02", "state": state, "endpoint": "10.9.0.2:51820", "rtt_s": 0.0012,
        "session_age_s": 61.0, "last_rx_age_s": 0.5, "tx_frames": 3, "tx_bytes": 4200, "rx_frames": 2,
        "rx_bytes": 300, "waiting_frames": 0, "sessions": [],
    }  # fmt: skip
    return PeerStatus(**{**values, **changes})


def ganglion(*peers: PeerStatus, **changes: Any) -> dict[str, Any]:
    values: dict[str, Any] = {
        "state": "running", "engine": "python", "cluster": "warehouse", "name": "robot-1", "public_key": KEY,
        "vip4": "10.77.0.1/24", "vip6": "fd6f:6d6e::1", "mac": "02:00:00:00:00:01", "interface_mtu": 1418,
        "nucleus_state": "registered", "nucleus_reason": "", "observed_endpoint": "10.9.0.1:51820",
        "cluster_size": 3, "on_demand": False, "fdb_entries": 4, "waiting_frames": 0, "tx_frames": 3,
        "tx_bytes": 4200, "rx_frames": 2, "rx_bytes": 300, "drops": {"replayed": 7}, "peers": list(peers),
    }  # fmt: skip
    return {
        "lifecycle": "active",
        "interface": "omni0",
        "port": 51820,
        "pid": 1,
        **asdict(GanglionStatus(**{**values, **changes})),
    }


class FakeGanglion:
    """Handlers of an admin socket. ``statuses`` are given one after the other, the last one for ever."""

    def __init__(self, *statuses: dict[str, Any]) -> None:
        self.statuses = list(statuses)
        self.rtts = itertools.cycle([0.001])
        self.refusal = ""
        self.requests: list[Mapping[str, Any]] = []

    def handlers(self) -> dict[str, Any]:
        return {"status": self.status, "ping": self.ping, "wait": self.wait}

    async def status(self, request: Mapping[str, Any]) -> dict[str, Any]:
        return self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]

    async def ping(self, request: Mapping[str, Any]) -> dict[str, Any]:
        self.requests.append(request)
        if request["address"] == "10.0.0.9":
            raise ConfigError("address", "is odd", "give another")
        rtt = next(self.rtts)
        return {"rtt_s": rtt, "text": "" if rtt is not None else "no answer"}

    async def wait(self, request: Mapping[str, Any]) -> dict[str, Any]:
        self.requests.append(request)
        if self.refusal:
            raise RegistrationRefused(self.refusal)
        up = sum(p["state"] == "up" for p in (await self.status(request))["peers"])
        has_vip4 = bool((await self.status(request))["vip4"])
        return {"peers": up, "reached": up >= request["peers"] and (has_vip4 or not request["vip4"])}


@pytest.fixture
def omni(capsys: pytest.CaptureFixture[str]) -> Caller:
    return Caller(capsys)


@pytest.fixture
def run_dir(tmp_path: Path) -> str:
    return str(tmp_path / "run")


def socket_of(run_dir: str) -> str:
    return f"{run_dir}/omni0.sock"


# --- status and peers -------------------------------------------------------------------------------------------------


def test_status_page(omni: Caller, run_dir: str) -> None:
    fake = FakeGanglion(ganglion(peer("robot-2"), peer("robot-3", "handshaking", rtt_s=None)))
    with served(socket_of(run_dir), fake.handlers()):
        outcome = omni("status", "--run-dir", run_dir)
    assert (outcome.code, outcome.err) == (0, "")
    for text in (
        "robot-1 (running), cluster warehouse, engine python", "1418", KEY,
        "10.77.0.1/24, fd6f:6d6e::1, 02:00:00:00:00:01",
        "registered, seen as 10.9.0.1:51820", "1 up of 2 known, 3 robots in the cluster",
        "3 frames (4.2 kB) out, 2 frames (300 B) in, 4 MAC addresses", "replayed 7",
        "robot-2", "1.2 ms", "61 s", "handshaking",
    ):  # fmt: skip
        assert text in outcome.out, text


def test_status_has_a_line_for_each_of_several_nuclei(omni: Caller, run_dir: str) -> None:
    links = [
        NucleusLink("192.0.2.1:51820", KEY, "standby", "connecting", "it stopped answering", None, 61.0, 0.002, False),
        NucleusLink("192.0.2.2:51820", KEY, "active", "registered", "", 3700.0, 2.0, 0.0012, True),
        NucleusLink("", KEY, "cold", "idle", "", None, None, None, False),
    ]
    status = ganglion(nuclei=links)
    with served(socket_of(run_dir), FakeGanglion(status, ganglion(nuclei=links[:1])).handlers()):
        page = omni("status", "--run-dir", run_dir).out
        one = omni("status", "--run-dir", run_dir).out
    lines = [line.strip() for line in page.splitlines()]
    assert "192.0.2.1:51820 standby, connecting, answered 61 s ago (2.0 ms): it stopped answering" in lines
    assert "192.0.2.2:51820 active, registered for 62 min, about to stop, answered 2 s ago (1.2 ms)" in lines
    assert f"{KEY} cold" in lines
    assert "192.0.2.1" not in one


def test_status_and_peers_say_who_listens_to_what(omni: Caller, run_dir: str) -> None:
    counted = {"announcements": 50, "suppressed": 40, "replayed": 30, "local_participants": 2, "remote_participants": 5}
    status = ganglion(
        peer("r2", multicast="learned", domains=[3, 7], groups=4, loss=0.004, clock_offset_s=-2.5, clock_error_s=0.001),
        peer("r3", multicast="learned", loss=0.12, clock_offset_s=0.0004, clock_error_s=0.001),
        peer("r4", multicast="flood", loss=0.0, clock_offset_s=0.0123, clock_error_s=0.001),
        domains=[3],
        discovery=counted,
    )
    with served(socket_of(run_dir), FakeGanglion(status).handlers()):
        page = omni("status", "--run-dir", run_dir).out
        wide = omni("peers", "--wide", "--run-dir", run_dir).out.splitlines()
    spared = "40 of 50 announcements spared, 30 given from the cache"
    assert f"domain 3, 2 participants here, 5 at peers; {spared}" in page
    rows = [next(line for line in wide if line.split()[:1] == [name]) for name in ("r2", "r3", "r4")]
    for row, texts in zip(
        rows,
        (("4 groups, DDS domain 3, 7", "0.4 %", "-2 s"), ("all groups", "12 %", " 0 "), (" all ", "0 %", "+12.3 ms")),
        strict=True,
    ):
        assert all(text in row for text in texts), row


def test_status_has_a_line_while_peers_help_each_other(omni: Caller, run_dir: str) -> None:
    told = GossipStatus(active=True, sent=7, taken=3, refused=1, recalled=2)
    fake = FakeGanglion(ganglion(gossip=told, nucleus_state="connecting"), ganglion())
    with served(socket_of(run_dir), fake.handlers()):
        page, quiet = (omni("status", "--run-dir", run_dir).out for _ in range(2))
    text = "peers tell each other: 7 messages sent, 3 entries taken, 1 refused, 2 peers of before tried"
    assert text in " ".join(page.split())
    assert "gossip" not in quiet


def test_status_says_why_it_is_not_registered(omni: Caller, run_dir: str) -> None:
    status = ganglion(
        nucleus_state="refused", nucleus_reason="VIP [bold]taken", observed_endpoint="", cluster_size=0, drops={}
    )
    with served(socket_of(run_dir), FakeGanglion(status).handlers()):
        outcome = omni("status", "--run-dir", run_dir)
    assert "refused: VIP [bold]taken\n" in outcome.out
    assert "drops" not in outcome.out


def test_json_is_what_the_ganglion_says(omni: Caller, run_dir: str) -> None:
    status = ganglion(peer("robot-2"))
    with served(socket_of(run_dir), FakeGanglion(status).handlers()):
        assert json.loads(omni("status", "--json", "--run-dir", run_dir).out) == status
        assert json.loads(omni("peers", "--json", "--run-dir", run_dir).out) == status["peers"]


def test_peers_table(omni: Caller, run_dir: str) -> None:
    peers = [
        peer("z-lost", "lost"),
        peer("b", vip4=""),
        peer("", "idle", endpoint="", session_age_s=None),
        peer("a[red]"),
    ]
    with served(socket_of(run_dir), FakeGanglion(ganglion(*peers)).handlers()):
        narrow = omni("peers", "--run-dir", run_dir).out
        wide = omni("peers", "--wide", "--run-dir", run_dir).out
    rows = [line.split() for line in narrow.splitlines() if "10.9.0.2" in line or "idle" in line]
    assert [row[0] for row in rows] == ["a[red]", "b", "-", "z-lost"]
    assert "fd6f:6d6e::2" not in narrow
    assert "fd6f:6d6e::2" in wide
    assert "02:00:00:00:00:02" in wide
    assert peers[1].public_key in wide


def test_nucleus_page(omni: Caller, run_dir: str) -> None:
    cluster = ClusterStatus("wh", False, edges=2, joins=3, refusals=1, admits_by="secret")
    nucleus = NucleusStatus(KEY, "00", 2, [cluster], {"bad_mac1": 4})
    answer = {"lifecycle": "active", "port": 51820, "pid": 1, **asdict(nucleus)}
    with served(f"{run_dir}/nucleus.sock", FakeGanglion(answer).handlers()):
        outcome = omni("status", "--nucleus", "--run-dir", run_dir)
    assert outcome.code == 0
    assert "active, UDP port 51820, 2 sessions" in outcome.out
    assert "bad_mac1 4" in outcome.out
    row = next(line.split() for line in outcome.out.splitlines() if line.strip().startswith("wh"))
    assert row == ["wh", "secret", "2", "3", "0", "0", "1", "-"]
    away = StoreStatus("redis", "redis://h:6379/0", False, "no answer", 12.0, 13.0)
    nucleus.draining, nucleus.store, nucleus.http = True, away, "127.0.0.1:51821"
    nucleus.clusters[0].pool = 100
    with served(f"{run_dir}/nucleus.sock", FakeGanglion({**answer, **asdict(nucleus)}).handlers()):
        page = omni("status", "--nucleus", "--run-dir", run_dir).out
    assert "draining, UDP port 51820" in page
    assert "redis://h:6379/0, away for 12 s, going on from memory (no answer)" in page
    assert "127.0.0.1:51821" in page and "0 of 100" in page


def test_watch_follows_a_restart_and_ends_with_ctrl_c(run_dir: str) -> None:
    watch = subprocess.Popen(
        [*OMNI, "status", "--watch", "--interval", "0.05", "--run-dir", run_dir],
        cwd=REPO, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert watch.wait(20) == 3  # nobody there at first is an error
    assert "nobody answers" in watch.communicate()[1]
    with served(socket_of(run_dir), FakeGanglion(ganglion()).handlers()):
        watch = subprocess.Popen(
            [*OMNI, "status", "--watch", "--interval", "0.05", "--run-dir", run_dir],
            cwd=REPO, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, bufsize=1,
        )  # fmt: skip
        assert watch.stdout is not None
        read_until(watch.stdout, "warehouse")
    read_until(watch.stdout, "nobody answers")
    with served(socket_of(run_dir), FakeGanglion(ganglion(name="again")).handlers()):
        read_until(watch.stdout, "again (running)")
        watch.send_signal(signal.SIGINT)
        assert watch.communicate(timeout=20)[1] == ""
    assert watch.returncode == 0


def read_until(stream: Any, text: str) -> None:
    for line in stream:
        if text in line:
            return
    raise AssertionError(f"the output ended without {text!r}")


@pytest.mark.parametrize("command", [("status",), ("peers",), ("ping", "10.0.0.1", "-c", "1")])
def test_no_ganglion_is_running(omni: Caller, run_dir: str, command: tuple[str, ...]) -> None:
    omni(*command, "--run-dir", run_dir).assert_refused(3, "admin socket", run_dir, "omni up")


# --- ping -------------------------------------------------------------------------------------------------------------


def test_ping_counts_and_sums_up(omni: Caller, run_dir: str) -> None:
    fake = FakeGanglion(ganglion(peer("robot-2")))
    fake.rtts = itertools.cycle([0.001, None, 0.003])
    with served(socket_of(run_dir), fake.handlers()):
        outcome = omni("ping", "10.77.0.2", "-c", "3", "-i", "0.01", "-W", "1.5", "--run-dir", run_dir)
    assert outcome.code == 0
    assert outcome.out.splitlines() == [
        "10.77.0.2: seq=1 time=1.000 ms",
        "10.77.0.2: seq=2 no answer",
        "10.77.0.2: seq=3 time=3.000 ms",
        "3 sent, 2 received, 33 % loss, round trip min/avg/max 1.000/2.000/3.000 ms",
    ]
    assert [request["timeout"] for request in fake.requests] == [1.5] * 3


def test_ping_without_any_answer(omni: Caller, run_dir: str) -> None:
    fake = FakeGanglion(ganglion())
    fake.rtts = itertools.cycle([None])
    with served(socket_of(run_dir), fake.handlers()):
        outcome = omni("ping", "10.77.0.2", "-c", "2", "-i", "0.01", "--json", "--run-dir", run_dir)
    assert outcome.code == 1
    assert json.loads(outcome.out) == {
        "address": "10.77.0.2", "sent": 2, "received": 0, "loss": 1.0,
        "rtt_min_s": None, "rtt_avg_s": None, "rtt_max_s": None,
    }  # fmt: skip


def test_ping_by_name(omni: Caller, run_dir: str) -> None:
    fake = FakeGanglion(ganglion(peer("robot-2"), peer("twin"), peer("twin", public_key=KEY)))
    with served(socket_of(run_dir), fake.handlers()):
        assert omni("ping", "robot-2", "-c", "1", "--run-dir", run_dir).code == 0
        assert fake.requests[0]["address"] == "fd6f:6d6e::2"
        omni("ping", "robot-9", "-c", "1", "--run-dir", run_dir).assert_refused(2, "address", "no peer has that name")
        omni("ping", "twin", "-c", "1", "--run-dir", run_dir).assert_refused(2, "address", "2 peers have the name")


def test_ping_passes_on_the_ganglions_error(omni: Caller, run_dir: str) -> None:
    with served(socket_of(run_dir), FakeGanglion(ganglion()).handlers()):
        omni("ping", "10.0.0.9", "-c", "1", "--run-dir", run_dir).assert_refused(2, "address", "is odd")


def test_ping_ends_with_ctrl_c_and_its_summary(run_dir: str) -> None:
    with served(socket_of(run_dir), FakeGanglion(ganglion()).handlers()):
        ping = subprocess.Popen(
            [*OMNI, "ping", "10.77.0.2", "-i", "0.01", "--run-dir", run_dir],
            cwd=REPO, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, bufsize=1,
        )  # fmt: skip
        assert ping.stdout is not None
        read_until(ping.stdout, "seq=3")
        ping.send_signal(signal.SIGINT)
        out, err = ping.communicate(timeout=20)
    assert ping.returncode == 0
    assert err == ""
    assert "0 % loss, round trip" in out.splitlines()[-1]


# --- wait -------------------------------------------------------------------------------------------------------------


def test_wait_returns_when_enough_are_up(omni: Caller, run_dir: str) -> None:
    fake = FakeGanglion(ganglion(peer("robot-2"), peer("robot-3"), peer("robot-4", "idle")))
    with served(socket_of(run_dir), fake.handlers()):
        outcome = omni("wait", "--peers", "2", "--timeout", "5", "--run-dir", run_dir)
    assert outcome == (0, "2 peers up: robot-2, robot-3\n", "")
    assert 4 < fake.requests[0]["timeout"] <= 5


def test_wait_waits_for_the_ganglion_to_start(run_dir: str) -> None:
    waiting = subprocess.Popen(
        [*OMNI, "wait", "--timeout", "20", "--run-dir", run_dir], cwd=REPO, stdout=subprocess.PIPE, text=True
    )
    os.makedirs(run_dir)
    with served(socket_of(run_dir), FakeGanglion(ganglion(peer("robot-2"))).handlers()):
        out, _ = waiting.communicate(timeout=20)
    assert (waiting.returncode, out) == (0, "1 peer up: robot-2\n")


def test_wait_times_out_with_the_missing_named(omni: Caller, run_dir: str) -> None:
    fake = FakeGanglion(ganglion(peer("robot-2"), peer("robot-3", "lost")))
    began = time.monotonic()
    with served(socket_of(run_dir), fake.handlers()):
        outcome = omni("wait", "--peers", "4", "--timeout", "0.3", "--run-dir", run_dir)
    outcome.assert_refused(5, "wait", "1 of 4 peers up after 0.3 s", "robot-3 is lost", "2 not known at all")
    assert 0.3 <= time.monotonic() - began < 3


def test_wait_for_an_address(omni: Caller, run_dir: str) -> None:
    where = ("--vip4", "--timeout", "0.3", "--run-dir", run_dir)
    with served(socket_of(run_dir), FakeGanglion(ganglion(vip4_leased=True)).handlers()):
        assert omni("wait", *where) == (0, "0 peers up, VIP 10.77.0.1/24\n", "")
        assert "10.77.0.1/24 (leased), fd6f" in omni("status", "--run-dir", run_dir).out
    with served(socket_of(run_dir), FakeGanglion(ganglion(peer("robot-2"))).handlers()):
        outcome = omni("wait", "--peers", "1", *where)
    assert outcome == (0, "1 peer up: robot-2, VIP 10.77.0.1/24\n", "")
    with served(socket_of(run_dir), FakeGanglion(ganglion(peer("robot-2"), vip4="")).handlers()):
        omni("wait", *where).assert_refused(5, "wait", "no VIP4 after 0.3 s")
        omni("wait", "--peers", "1", *where).assert_refused(5, "wait", "1 of 1 peer up after 0.3 s; no VIP4")


def test_wait_times_out_without_a_ganglion(omni: Caller, run_dir: str) -> None:
    outcome = omni("wait", "--timeout", "0.1", "--run-dir", run_dir)
    outcome.assert_refused(5, "wait", "nobody answers", "omni up")


def test_wait_ends_at_once_when_the_nucleus_refused(omni: Caller, run_dir: str) -> None:
    fake = FakeGanglion(ganglion())
    fake.refusal = "VIP 10.77.0.1 is taken"
    with served(socket_of(run_dir), fake.handlers()):
        outcome = omni("wait", "--timeout", "20", "--run-dir", run_dir)
    assert outcome == (4, "", "omni: the Nucleus refused the registration: VIP 10.77.0.1 is taken\n")


def test_sentence_of_a_timeout_with_many_peers_and_a_silent_nucleus() -> None:
    status = ganglion(
        *(peer(f"r{n}", "handshaking") for n in range(9)), nucleus_state="connecting", nucleus_reason="no answer"
    )
    text = wait.missing(status, 9, 2.0, "/run/omni/omni0.sock")
    assert text.startswith("0 of 9 peers up after 2 s; r0 is handshaking, ")
    assert "r4 is handshaking and 4 more; the Nucleus: connecting (no answer). Fix: " in text


def test_sessions_table(omni: Caller, run_dir: str) -> None:
    old, new = SessionStatus("aa01", "responder", 130.0, False), SessionStatus("bb02", "initiator", 10.0, True)
    answer = ganglion(peer("robot-3", sessions=[old, new]), peer("robot-2", sessions=[new]), peer("robot-4", "lost"))
    with served(socket_of(run_dir), FakeGanglion(answer).handlers()):
        table = omni("sessions", "--run-dir", run_dir)
        rows = json.loads(omni("sessions", "--json", "--run-dir", run_dir).out)
    assert [(row["peer"], row["id"], row["sending"]) for row in rows] == [
        ("robot-2", "bb02", True), ("robot-3", "bb02", True), ("robot-3", "aa01", False),
    ]  # fmt: skip
    assert [line.split()[:3] for line in table.out.splitlines() if "robot-" in line] == [
        ["robot-2", "bb02", "initiator"], ["robot-3", "bb02", "initiator"], ["robot-3", "aa01", "responder"],
    ]  # fmt: skip


def test_drops_say_what_they_mean(omni: Caller, run_dir: str) -> None:
    counted = {"replayed": 7, "bad_nonce": 30, "of_a_later_version": 1}
    with served(socket_of(run_dir), FakeGanglion(ganglion(drops=counted)).handlers()):
        lines = omni("drops", "--run-dir", run_dir).out.splitlines()
    shown = [line.split()[:2] for line in lines if any(reason in line for reason in counted)]
    assert shown == [["bad_nonce", "30"], ["replayed", "7"], ["of_a_later_version", "1"]]
    assert any("the stream is not ours" in line for line in lines)
    assert all(drops.meaning(reason.name.lower()) for reason in DropReason)


def test_drops_of_a_while(omni: Caller, run_dir: str) -> None:
    before, after = (
        ganglion(drops={"replayed": 7, "bad_tag": 1}),
        ganglion(drops={"replayed": 9, "bad_tag": 1, "paused": 2}),
    )
    with served(socket_of(run_dir), FakeGanglion(before, after).handlers()):
        assert json.loads(omni("drops", "--over", "0.01", "--json", "--run-dir", run_dir).out) == {
            "replayed": 2,
            "paused": 2,
        }
    assert drops.grown({"replayed": 7}, {"replayed": 3}) == {"replayed": 3}  # the Ganglion has started again


def test_no_drops(omni: Caller, run_dir: str) -> None:
    with served(socket_of(run_dir), FakeGanglion(ganglion(drops={})).handlers()):
        assert omni("drops", "--run-dir", run_dir).out == "nothing was dropped\n"
