"""TCP through the bulk lane, every byte checked: links of every size, lossy ones, renewed keys, and the native
engine alone. How much: OMNI_STREAM_BYTES (default 10 GB) in the long one, some 100 MB in each of the others.

 robot1 ---- robot2     overlay 10.77.0.0/24
----+-----------+----   underlay, or a relay that loses and reorders
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator

import pytest
from support.two_robots import Streams, TwoRobots, quick_rekey

from omni_core.io.synapse import bpffs, loader, sources
from tools.netlab import Lab, unavailable

pytestmark = [
    pytest.mark.alone,
    pytest.mark.netns,
    pytest.mark.skipif(unavailable() is not None, reason=str(unavailable())),
]

MB = 1_000_000
TOTAL = int(os.environ.get("OMNI_STREAM_BYTES", 10_000 * MB))
LANES = {"engine": "kernel"}
ALONE = {"engine": "native"}
REKEY_AFTER = 2  # s
TAGS = sources.program_directory() / "test" / "tags.c"


@pytest.fixture(scope="module", params=[LANES, ALONE], ids=["both lanes", "native alone"])
def pair(request: pytest.FixtureRequest) -> Iterator[TwoRobots]:
    with Lab("transfers") as lab:
        pair = TwoRobots(lab)
        pair.command = quick_rekey(REKEY_AFTER)
        pair.start(request.param)
        yield pair
        pair.stop()


def both(pair: TwoRobots) -> list[Counter[str]]:
    return [end.ways() for end in pair.ends]


def grown(pair: TwoRobots, before: list[Counter[str]]) -> tuple[Counter[str], Counter[str]]:
    after = both(pair)
    return after[0] - before[0], after[1] - before[1]


def transfer(pair: TwoRobots, address: str, sizes: list[int], seed: int, mode: str = "plain", timeout: float = 120.0):
    streams = Streams(pair.ends[0].host, pair.ends[1].host, pair.files)
    streams.start(address, sizes, seed, mode)
    return streams.finish(timeout)


def carried_by_the_engine(pair: TwoRobots, before: list[Counter[str]], least: int) -> None:
    sent, received = grown(pair, before)
    assert sent["native_tx_sealed"] > least // 1400 > 0 and sent["native_tx_super"] > 0, sent
    assert received["native_rx_opened"] > least // 1400 and received["native_rx_super"] > 0, received
    for counted in (sent, received):
        assert not {"bad_tag", "replayed", "bad_inner_frame", "bad_nonce"} & set(counted), counted


def test_ten_gigabytes_through_rekeys(pair, seed):
    """The long one: everything by one stream, with keys that are renewed every two seconds."""
    total = TOTAL if pair.ends[0].status()["engine"] == "kernel" else TOTAL // 10
    before, sessions = both(pair), _sessions(pair)
    (report,) = transfer(pair, pair.ends[1].vip4, [total], seed, timeout=1200)
    print(report, f"{8 * total / report['seconds'] / MB:.0f} Mbit/s")
    carried_by_the_engine(pair, before, total)
    assert not sessions & _sessions(pair) or report["seconds"] < 2 * REKEY_AFTER


def _sessions(pair: TwoRobots) -> set[str]:
    return {session["id"] for peer in pair.ends[0].status()["peers"] for session in peer["sessions"]}


@pytest.mark.parametrize("version", ["vip4", "vip6"])
def test_one_stream(pair, version, seed):
    before = both(pair)
    transfer(pair, getattr(pair.ends[1], version), [150 * MB], seed)
    carried_by_the_engine(pair, before, 150 * MB)


def test_ten_streams_at_once(pair, seed):
    before = both(pair)
    transfer(pair, pair.ends[1].vip4, [12 * MB + 777 * i for i in range(10)], seed)
    carried_by_the_engine(pair, before, 100 * MB)


def test_streams_both_ways_at_once(pair, seed):
    a, b = pair.ends
    there = Streams(a.host, b.host, pair.files)
    back = Streams(b.host, a.host, pair.files)
    there.start(b.vip4, [60 * MB] * 2, seed)
    back.start(a.vip6, [60 * MB] * 2, seed + 100)
    there.finish(120)
    back.finish(120)


def test_a_stream_that_changes_lanes(pair, seed):
    """It falls silent, sends single bytes that wait for each other, and goes on in bulk, many times."""
    before = both(pair)
    (report,) = transfer(pair, pair.ends[1].vip4, [60 * MB], seed, "switching")
    assert report["switches"] > 10
    carried_by_the_engine(pair, before, 40 * MB)
    sent, _ = grown(pair, before)
    if pair.ends[0].status()["engine"] == "kernel":
        assert sent["tx_bulk"] > 0 and sent["tx_sealed"] > report["switches"], "by both lanes"


@pytest.mark.parametrize("settings", [LANES, ALONE], ids=["both lanes", "native alone"])
@pytest.mark.parametrize("relay", [(10, 0), (0, 20), (10, 20)], ids=["loss", "reordering", "both"])
def test_a_link_that_loses_and_reorders(settings, relay, seed):
    """1 % lost, 2 % overtaken by up to 16 others."""
    with Lab("lossy") as lab:
        pair = TwoRobots(lab, relay=relay, seed=seed)
        pair.start(settings)
        before = both(pair)
        transfer(pair, pair.ends[1].vip4, [8 * MB] * 2, seed, timeout=180)
        transfer(pair, pair.ends[1].vip4, [4 * MB], seed, "switching", timeout=180)
        sent, received = grown(pair, before)
        assert sent["native_tx_sealed"] > 1000 and received["native_rx_opened"] > 1000, (sent, received)
        assert not received["bad_tag"]
        pair.stop()
        assert pair.relay is not None
        pair.relay.stop(grace=5)
        print(pair.relay.log_text())


@pytest.mark.parametrize("settings", [LANES, ALONE], ids=["both lanes", "native alone"])
@pytest.mark.parametrize(("ipv6", "mtu"), [(False, 1280), (True, 1280), (True, 1500), (False, 9000), (True, 9000)])
def test_links_of_every_kind(settings, ipv6, mtu, seed):
    """Outer IPv4 and IPv6, MTU from the least that IPv6 allows to jumbo frames."""
    with Lab("links") as lab:
        pair = TwoRobots(lab, ipv6=ipv6, mtu=mtu)
        pair.start(settings)
        before = both(pair)
        for address in (pair.ends[1].vip4, pair.ends[1].vip6):
            transfer(pair, address, [40 * MB], seed)
        sent, received = grown(pair, before)
        assert sent["native_tx_super"] > 0 and received["native_rx_super"] > 0, (sent, received)
        assert "tx_send" not in sent, "nothing was too long for the path"
        pair.stop()


@pytest.mark.parametrize("settings", [LANES, ALONE], ids=["both lanes", "native alone"])
def test_tagged_super_frames_of_hosts_behind_the_robots(settings, seed, tmp_path):
    """Super-frames that carry a tag. Where they come out, what has no tag is dropped.

    plc1 --lan0, VLAN 10-- br0 robot1 ===== overlay ===== robot2 br0 --lan0, VLAN 10-- plc2
    """
    place = bpffs.prepare(tmp_path / "bpf")
    try:
        tags = loader.load(
            TAGS, {"VLAN": 10}, {"push_tag": "sched_cls", "pop_tag": "sched_cls"}, place.directory / "tags"
        )
        tags.close()
        with Lab("vlan") as lab:
            pair = TwoRobots(lab)
            inner = []
            for number, end in enumerate(pair.ends, 1):
                inner.append(lab.inner_host(end.host, f"plc{number}", f"10.88.0.{number}/24"))
                inner[-1].ip("link set eth0 mtu 1400")
                end.host.ip("link add br0 type bridge forward_delay 0")
                end.host.ip("link set lan0 master br0")
                end.host.ip("link set br0 up")
                end.host.run(["tc", "qdisc", "add", "dev", "lan0", "clsact"])
                for hook, program in (("ingress", "push_tag"), ("egress", "pop_tag")):
                    pin = place.directory / "tags" / f"prog_{program}"
                    end.host.run(["tc", "filter", "add", "dev", "lan0", hook, "bpf", "da", "object-pinned", str(pin)])
            pair.start({**settings, "bridge": "br0"})
            before = both(pair)
            for mode in ("plain", "switching"):
                streams = Streams(inner[0], inner[1], pair.files)
                streams.start("10.88.0.2", [30 * MB] * 2, seed, mode)
                streams.finish(120)
            carried_by_the_engine(pair, before, 40 * MB)
            pair.stop()
    finally:
        bpffs.remove_tree(place.directory / "tags")
        bpffs.release(place)
