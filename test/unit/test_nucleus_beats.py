"""Short heartbeats: both sides leave out what the other one knows, and say it again as soon as that is in doubt."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest
from support.nucleus_net import NUCLEUS_AT, Edge, Net

from omni_core.constants import NAT_KEEPALIVE
from omni_core.engines import nucleus_parties
from omni_core.signaling import connection
from omni_core.signaling.messages import BeatAck, Heartbeat, HeartbeatAck, Message, Register
from omni_core.types import Endpoint
from omni_core.wire.control import ControlType


@pytest.fixture
def heard(monkeypatch: pytest.MonkeyPatch) -> list[Message]:
    """What the Nucleus and the edges decode, in order."""
    messages: list[Message] = []

    def spy(module: object, name: str) -> None:
        original = getattr(module, name)

        def decode(body: bytes) -> Message:
            message = original(body)
            messages.append(message)
            return message

        monkeypatch.setattr(module, name, decode)

    spy(nucleus_parties, "decode_message")
    spy(connection, "decode_message")
    return messages


@pytest.fixture
def net(seed: int) -> Net:
    return Net(seed)


def one(net: Net) -> Edge:
    edge = net.edge().start()
    assert net.run(5, lambda: edge.registered)
    net.run(1)
    return edge


def kinds(messages: list[Message]) -> Counter[str]:
    return Counter(type(message).__name__ for message in messages)


def test_in_quiet_times_only_short_ones(net: Net, heard: list[Message]) -> None:
    one(net)
    heard.clear()
    net.record = True
    net.run(300)
    counted = kinds(heard)
    assert set(counted) == {"Beat", "BeatAck"} and counted["Beat"] == counted["BeatAck"] >= 300 / NAT_KEEPALIVE
    assert max(len(data) for data, _, _ in net.seen) <= 50


def test_one_that_is_not_answered_is_followed_by_a_whole_one(net: Net, heard: list[Message]) -> None:
    edge = one(net)
    heard.clear()
    net.carry = drop_from_nucleus()
    assert net.run(40, lambda: kinds(heard)["Heartbeat"] == 1)
    assert kinds(heard) == {"Beat": 1, "Heartbeat": 1}
    net.carry = lambda *_: [0.01]
    assert net.run(10, lambda: kinds(heard)["HeartbeatAck"] == 1)
    heard.clear()
    net.run(60)
    assert set(kinds(heard)) == {"Beat", "BeatAck"} and edge.registered


def drop_from_nucleus() -> Callable[[bytes, Endpoint, Endpoint], list[float]]:
    return lambda data, source, _: [] if source == NUCLEUS_AT and data[0] == ControlType.SIGNALING else [0.01]


def test_other_addresses_of_ours_are_told(net: Net, heard: list[Message]) -> None:
    edge = one(net)
    heard.clear()
    places = [Endpoint("172.16.0.5", 4444)]
    edge.client.set_local_endpoints(places, net.now)
    net.pump(edge)
    net.run(1)
    assert kinds(heard)["Heartbeat"] == 1 and net.nucleus._store.get(edge.key).entry().endpoints[1:] != ()
    other = one(net)
    assert other.known[edge.key][1] == (edge.at, *places)
    heard.clear()
    net.run(30)
    assert Heartbeat not in {type(message) for message in heard}


def test_where_the_nucleus_sees_us_now(net: Net, heard: list[Message]) -> None:
    """The NAT has another mapping: a short heartbeat is enough for the Nucleus, its answer is whole."""
    edge = one(net)
    heard.clear()
    del net.edges[edge.at]
    edge.at = Endpoint("10.9.9.9", 1234)
    net.edges[edge.at] = edge
    assert net.run(30, lambda: edge.client.observed == edge.at)
    assert kinds(heard) == {"Beat": 1, "HeartbeatAck": 1}
    assert net.nucleus.status(net.now).clusters[0].moves == 1


def test_news_come_with_the_answer(seed: int, heard: list[Message]) -> None:
    net = Net(seed)
    net.mesh_limit = 1
    net.restart_nucleus()
    edge, other, _ = one(net), one(net), one(net)
    net.run(60)
    heard.clear()
    other.stop()
    net.edges.pop(other.at)
    assert net.run(60, lambda: edge.client.cluster_size == 2 and any(isinstance(m, BeatAck) for m in heard))
    answers = [message for message in heard if isinstance(message, HeartbeatAck)]
    assert [answer.delta.leaves for answer in answers] == [(other.key,)] * 2, "one for each that is there"
    heard.clear()
    net.run(40)
    assert set(kinds(heard)) == {"Beat", "BeatAck"}


def test_a_draining_nucleus_says_so(net: Net, heard: list[Message]) -> None:
    edge = one(net)
    net.nucleus.drain(net.now, 60.0)
    assert net.run(30, lambda: edge.client.health.draining)
    heard.clear()
    net.run(40)
    assert set(kinds(heard)) == {"Beat", "HeartbeatAck"}, "as long as it drains"


def test_what_was_never_said_here_is_asked_for(net: Net, heard: list[Message]) -> None:
    """A Nucleus whose numbers count anew has forgotten nothing of the session, but what was said means nothing now."""
    edge = one(net)
    heard.clear()
    net.nucleus._store.epoch += 1
    assert net.run(30, lambda: any(isinstance(message, Register) for message in heard))
    net.run(1)
    assert edge.registered and edge.client._cursor.epoch == net.nucleus._store.epoch
    heard.clear()
    net.run(60)
    assert set(kinds(heard)) == {"Beat", "BeatAck"}
