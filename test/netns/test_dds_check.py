"""`omni dds --check` between two robots: success, and each reason that it gives, with what causes it. All at once."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

pytest.importorskip("rclpy")

from support.dds_pair import CYCLONE_NODE, DdsPair, fragments

from tools.netlab import Host, Lab, LabProcess, unavailable
from tools.netlab.support import run_tool

pytestmark = [
    pytest.mark.alone,
    pytest.mark.netns,
    pytest.mark.ros,
    pytest.mark.skipif(unavailable() is not None, reason="no labs here"),
]

TIMEOUT = 120.0  # s; a dozen pairs share the cores
PATIENT, HASTY = "20", "2"  # s of a check that shall succeed, and of one that shall not

Environment = dict[str, str | None]


def drop(host: Host, hook: str, rule: str) -> None:
    """A packet filter that drops what the rule matches, before anything of DDS runs."""
    chain = f"add chain ip omni-test {hook} {{ type filter hook {hook} priority 0; }}"
    for command in ("add table ip omni-test", chain, f"add rule ip omni-test {hook} {rule} drop"):
        run_tool(["ip", "netns", "exec", host.namespace, "nft", command])


def nothing(pair: DdsPair, ours: Environment, theirs: Environment) -> None:
    pass


def here(**changes: str) -> Callable[[DdsPair, Environment, Environment], None]:
    return lambda pair, ours, theirs: ours.update(changes)


def bound_to(address: str) -> Callable[[DdsPair, Environment, Environment], None]:
    """A profile for another address."""

    def change(pair: DdsPair, ours: Environment, theirs: Environment) -> None:
        for name, path in ours.items():
            if name.endswith("PROFILES_FILE") and path:
                text = Path(path).read_text()
                allowed = f"<interfaceWhiteList><address>{address}</address></interfaceWhiteList>"
                begin, end = ("<interfaces>", "</interfaces>") if "<interfaces>" in text else (
                    "<interfaceWhiteList>", "</interfaceWhiteList>",
                )  # fmt: skip
                Path(path).write_text(text[: text.index(begin)] + allowed + text[text.index(end) + len(end) :])

    return change


def deaf(pair: DdsPair, ours: Environment, theirs: Environment) -> None:
    """One that hears would be enough: then it answers to the other alone."""
    drop(pair.a, "input", "ip daddr 224.0.0.0/4")
    drop(pair.b, "input", "ip daddr 224.0.0.0/4")


def mute(pair: DdsPair, ours: Environment, theirs: Environment) -> None:
    for hook in ("input", "output"):
        drop(pair.a, hook, "ip daddr 224.0.0.0/4")


class Case(NamedTuple):
    change: Callable[[DdsPair, Environment, Environment], None]
    there: str  # what runs at the peer: "echo", "listen", "cyclone" or ""
    words: tuple[str, ...]  # in the reason; none: it works


CASES = {
    "works": Case(nothing, "echo", ()),
    "works-ipv6": Case(nothing, "echo", ()),
    "one-way": Case(lambda pair, ours, theirs: drop(pair.a, "input", "ip daddr 224.0.0.0/4"), "echo", ()),
    "nothing-there": Case(nothing, "", ("sends no DDS over the overlay in domain 0",)),
    "nobody-answers": Case(nothing, "listen", ("nobody answers the probe at", "omni dds --echo there")),
    "localhost": Case(here(ROS_AUTOMATIC_DISCOVERY_RANGE="LOCALHOST"), "echo", ("RANGE=LOCALHOST keeps DDS",)),
    "server": Case(here(ROS_DISCOVERY_SERVER="10.77.0.99:11811"), "echo", ("ROS_DISCOVERY_SERVER=10.77.0.99:11811",)),
    "other-domain": Case(
        here(ROS_DOMAIN_ID="7"), "echo", ("has no participant in ROS domain 7, but in 0", "--domain 0 here")
    ),
    "bound-elsewhere": Case(bound_to("eth0-address"), "echo", ("binds DDS to", "not to omni0")),
    "bound-to-gone": Case(bound_to("10.77.9.9"), "echo", ("an address that this machine does not have (10.77.9.9)",)),
    "firewall-in": Case(deaf, "echo", ("a firewall here drops them",)),
    "firewall-out": Case(mute, "echo", ("no announcement of ours left by omni0",)),
    "firewall-there": Case(
        lambda pair, ours, theirs: drop(pair.b, "output", "udp dport 7400-7649"),
        "echo",
        ("sends no DDS over the overlay", "a firewall there drops UDP port 7400"),
    ),
    "unicast-here": Case(
        lambda pair, ours, theirs: drop(pair.a, "input", "iif omni0 udp dport 7410-7649"),
        "echo",
        ("none of its nodes is found: a firewall here drops UDP ports from 7410",),
    ),
    "unicast-there": Case(
        lambda pair, ours, theirs: drop(pair.b, "output", "oif omni0 udp dport 7410-7649"),
        "echo",
        ("is heard by multicast, and sends nothing to this robot alone", "7410"),
    ),
    "other-rmw": Case(nothing, "cyclone", ("uses Cyclone DDS, this shell Fast DDS",)),
}
WITHOUT = set() if importlib.util.find_spec("cyclonedds") else {"other-rmw"}


class Ran(NamedTuple):
    pair: DdsPair
    check: LabProcess


@pytest.fixture(scope="module")
def runs() -> Iterator[dict[str, Ran]]:
    with Lab("check") as lab:
        prepared = {}
        for number, (name, case) in enumerate(CASES.items()):
            if name in WITHOUT:
                continue
            pair = DdsPair(lab, f"p{number}")
            version = ["--ipv6"] if name.endswith("ipv6") else []
            ours, theirs = (pair.environment(host, "rmw_fastrtps_cpp", ipv6=bool(version)) for host in (pair.a, pair.b))
            case.change(pair, ours, theirs)
            if case.there == "echo":
                peer = pair.omni(pair.b, "--echo", *version, environment=theirs)
            elif case.there == "listen":
                peer = pair.node(pair.b, "listen", theirs)
            elif case.there == "cyclone":
                environment = pair.environment(pair.b, "rmw_cyclonedds_cpp")
                peer = pair.node(pair.b, "listen", environment, program=CYCLONE_NODE)
            else:
                peer = None
            prepared[name] = (pair, ours, peer, version)
        found = {}
        for name, (pair, ours, peer, version) in prepared.items():
            if peer is not None:
                peer.wait_log("answering|started", TIMEOUT)
            patience = HASTY if CASES[name].words else PATIENT
            words = ["--check", "--json", *version, "--peer", pair.vip6(pair.b), "--timeout", patience]
            found[name] = Ran(pair, pair.omni(pair.a, *words, environment=ours))
        yield found


def result(ran: Ran, code: int) -> dict[str, Any]:
    status = ran.check.wait(TIMEOUT)
    assert status == code, ran.check.log_text()
    found = json.loads(ran.check.log_text())
    assert isinstance(found, dict)
    return found


@pytest.mark.parametrize("name", ["works", "works-ipv6"])
def test_success_with_figures(runs: dict[str, Ran], name: str) -> None:
    ran = runs[name]
    found = result(ran, 0)
    assert found["ok"] and found["reasons"] == []
    figures = found["result"]
    assert len(figures["rtts_s"]) == figures["rounds"] == 10
    assert figures["large_bytes"] == 4_000_000
    for key in ("discovery_s", "large_out_s", "large_in_s"):
        assert 0 < figures[key] < float(PATIENT)
    assert figures["peer"]["rmw"] == figures["here"]["rmw"] == "rmw_fastrtps_cpp"
    assert not [text for text in found["remarks"] if "IP fragments" in text or "firewall" in text]
    assert fragments(ran.pair.a) == fragments(ran.pair.b) == 0


def test_nothing_is_left_behind(tmp_path: Path) -> None:
    """By SIGTERM, as the end of a lab sends it too."""
    with Lab("echo") as lab:
        pair = DdsPair(lab)
        environment = {**pair.environment(pair.a), "TMPDIR": str(tmp_path)}
        echo = pair.omni(pair.a, "--echo", "--rmw", "fastdds", environment=environment)
        echo.wait_log("answering", TIMEOUT)
        assert len(list(tmp_path.glob("omni-dds-*/*.xml"))) == 1
        assert echo.stop(grace=10) == 0
        assert not list(tmp_path.iterdir())


def test_multicast_one_way_is_enough(runs: dict[str, Ran]) -> None:
    """Whether the peer announced itself meanwhile, so that there is a remark, is chance."""
    assert result(runs["one-way"], 0)["ok"]


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.words])
def test_each_reason(runs: dict[str, Ran], name: str) -> None:
    if name not in runs:
        pytest.skip("pip install cyclonedds")
    found = result(runs[name], 1)
    assert not found["ok"] and found["result"]["discovery_s"] is None
    text = "\n".join(found["reasons"])
    for word in CASES[name].words:
        assert word in text, text
    assert all(". Fix: " in reason for reason in found["reasons"] if not reason.startswith("DDS said")), text
