"""Keepalives and dead peers, by numbered rules."""

from __future__ import annotations

import pytest

from omni_core.constants import DEAD_AFTER, NAT_KEEPALIVE, PASSIVE_KEEPALIVE
from omni_core.session.liveness import Care, Liveness, Traffic

T = 1000.0


@pytest.mark.parametrize(
    ("traffic", "ping", "at", "care"),
    [
        pytest.param(Traffic(T, T, T, T), 0.0, T + 1, Care.NOTHING, id="1 both talk"),
        pytest.param(
            Traffic(T - 50, T - 50, T, T), 0.0, T + PASSIVE_KEEPALIVE, Care.PING, id="2 nothing sent for long"
        ),
        pytest.param(Traffic(T - 5, T - 5, T, T), 0.0, T + PASSIVE_KEEPALIVE, Care.KEEPALIVE, id="3 data, no answer"),
        pytest.param(Traffic(T - 5, T - 5, T, T), 0.0, T + PASSIVE_KEEPALIVE - 0.1, Care.NOTHING, id="4 not yet"),
        pytest.param(Traffic(T - 5, T - 5, T, T - 9), 0.0, T + 11, Care.NOTHING, id="5 a keepalive asks for none back"),
        pytest.param(Traffic(T, T - 30, T, T - 30), 0.0, T + NAT_KEEPALIVE, Care.PING, id="6 NAT keepalive"),
        pytest.param(Traffic(T, T, T - 1, T - 1), 0.0, T + DEAD_AFTER, Care.REHANDSHAKE, id="7 data, they are silent"),
        pytest.param(Traffic(T, T, T - 1, T - 1), 0.0, T + DEAD_AFTER - 0.1, Care.NOTHING, id="8 not yet"),
        pytest.param(Traffic(T, 0.0, T - 1, 0.0), T, T + DEAD_AFTER, Care.REHANDSHAKE, id="9 ping unanswered"),
        pytest.param(Traffic(T, 0.0, T - 1, 0.0), 0.0, T + DEAD_AFTER, Care.NOTHING, id="10 keepalive unanswered"),
        pytest.param(Traffic(T, T, 0.0, 0.0), 0.0, T + DEAD_AFTER, Care.REHANDSHAKE, id="11 never heard"),
        pytest.param(Traffic(T, 0.0, T + 1, T + 1), T, T + DEAD_AFTER, Care.KEEPALIVE, id="12 data is life too"),
        pytest.param(Traffic(T, 0.0, T - 5, 0.0), T - 6, T + 5, Care.PING, id="13 control, and they are silent"),
        pytest.param(Traffic(T, 0.0, T - 5, 0.0), T - 6, T + 4.9, Care.NOTHING, id="14 not yet"),
        pytest.param(Traffic(T, 0.0, T - 0.5, 0.0), T - 6, T + 20, Care.NOTHING, id="15 an answer asks for none"),
    ],
)
def test_rules(traffic: Traffic, ping: float, at: float, care: Care) -> None:
    assert Liveness(last_ping=ping).poll(traffic, at) is care


def test_a_busy_sender_is_declared_dead_by_its_first_unanswered_frame() -> None:
    """Polled while data is sent all the time: the latest frame must not move the deadline on and on."""
    liveness, traffic = Liveness(), Traffic(T, T, T, T)
    at = T
    while at < T + 60:
        at += 2.5
        traffic.tx = traffic.tx_data = at
        if liveness.poll(traffic, at) is Care.REHANDSHAKE:
            break
    assert DEAD_AFTER <= at - T <= DEAD_AFTER + 5


def test_an_answer_clears_the_suspicion() -> None:
    liveness, traffic = Liveness(), Traffic(T, T, T - 1, T - 1)
    assert liveness.poll(traffic, T + 10) is Care.NOTHING
    traffic.rx = T + 11
    assert liveness.poll(traffic, T + DEAD_AFTER + 1) is Care.NOTHING


def test_rehandshake_is_asked_for_once_per_silence() -> None:
    liveness, traffic = Liveness(), Traffic(T, T, T - 1, T - 1)
    assert liveness.poll(traffic, T + DEAD_AFTER) is Care.REHANDSHAKE
    traffic.tx_data = T + DEAD_AFTER + 0.5
    assert liveness.poll(traffic, T + DEAD_AFTER + 1) is Care.NOTHING
