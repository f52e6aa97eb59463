"""The probe's messages and limits, what is counted on the wire, and the sentences that follow from facts."""

from __future__ import annotations

import ipaddress
import random
import struct
from dataclasses import replace
from pathlib import Path

import pytest

from omni_core.dds import probe
from omni_core.dds.diagnosis import Facts, Profile, Wire, before, bound_to, reasons, remarks
from omni_core.dds.probe import Allowance, Message
from omni_core.dds.settings import SETTINGS
from omni_core.io.dds_facts import profile_of
from omni_core.io.rtps_watch import count

INFO = {"rmw": "rmw_x_cpp"}


def request(size: int = 256, number: int = 1) -> bytes:
    return probe.encode(Message(probe.REQUEST, 7, number, size), 256)


# --- messages ------------------------------------------------------------------------------------------------------


def test_golden_request() -> None:
    data = probe.encode(Message(probe.REQUEST, 0x1122334455667788, 5, 4_000_000), 30)
    assert data.hex() == "4f4450310100000088776655443322110500000000093d00000000000000"


def test_a_reply_has_the_size_that_was_asked_for() -> None:
    for size in (0, 100, 4_000_000):
        reply = probe.answer(request(size), Allowance(), INFO, 0.0)
        assert reply is not None and len(reply) >= size
        message = probe.decode(reply)
        assert message == Message(probe.REPLY, 7, 1, 256, INFO)
    assert len(reply) == 4_000_000


def test_what_is_too_large_is_refused_without_a_byte_of_it() -> None:
    reply = probe.answer(request(probe.MESSAGE_MAX + 1), Allowance(), INFO, 0.0)
    assert reply is not None and len(reply) < 200
    message = probe.decode(reply)
    assert message is not None and message.kind == probe.REFUSED


def test_answers_are_bounded_in_time() -> None:
    """Whoever asks, and however often: a burst, then the rate."""
    allowance, sent = Allowance(rate=1000, burst=10_000), 0
    for step in range(1000):
        reply = probe.answer(request(5000), allowance, INFO, step * 0.01)
        sent += len(reply or b"")
    assert 10_000 <= sent <= 10_000 + 1000 * 10
    small = Allowance(rate=0, burst=10 * probe.REPLY_COST_MIN)
    assert sum(probe.answer(request(0), small, INFO, 0.0) is not None for _ in range(20)) == 10


def test_a_check_fits_into_the_burst() -> None:
    allowance = Allowance()
    for size in [256] * 10 + [256, 4_000_000]:
        assert probe.answer(request(size), allowance, INFO, 0.0) is not None


def test_junk_is_answered_by_nothing(seed: int) -> None:
    generator = random.Random(seed)
    good = request()
    for cut in range(26):
        assert probe.decode(good[:cut]) is None
    for _ in range(2000):
        data = bytearray(good)
        for _ in range(generator.randrange(1, 6)):
            data[generator.randrange(40)] = generator.randrange(256)
        message = probe.decode(data)
        assert message is None or message.kind in (probe.REQUEST, probe.REPLY, probe.REFUSED)
    reply = probe.encode(Message(probe.REPLY, 1, 1, 1, INFO))
    assert probe.answer(reply, Allowance(), INFO, 0.0) is None
    assert probe.decode(reply[:26] + b"[1]" + reply[29:]) is None


def test_topics_are_hidden_and_of_one_robot() -> None:
    first, second = probe.topics(ipaddress.IPv6Address("fd00::1"))
    assert first == "/_omni_dds_probe/vfd000000000000000000000000000001/request"
    assert second.endswith("/reply") and first.rpartition("/")[0] == second.rpartition("/")[0]


# --- on the wire -----------------------------------------------------------------------------------------------------

PEER4, PEER6 = ipaddress.IPv4Address("10.77.0.2"), ipaddress.IPv6Address("fd77::2")
PEER = {PEER4.packed, PEER6.packed}


def frame4(source: str, target: str, port: int, *, payload: bytes = b"RTPS\x02\x03\x01\x0f", offset: int = 0) -> bytes:
    ip = struct.pack("!BBHHHBBH", 0x45, 0, 28 + len(payload), 1, offset, 64, 17, 0)
    addresses = ipaddress.IPv4Address(source).packed + ipaddress.IPv4Address(target).packed
    return bytes(12) + b"\x08\x00" + ip + addresses + struct.pack("!HHHH", 7412, port, 8 + len(payload), 0) + payload


def frame6(source: str, target: str, port: int, protocol: int = 17) -> bytes:
    payload = b"RTPS\x02\x03\x01\x10"
    ip = struct.pack("!IHBB", 0x60000000, 8 + len(payload), protocol, 64)
    addresses = ipaddress.IPv6Address(source).packed + ipaddress.IPv6Address(target).packed
    return bytes(12) + b"\x86\xdd" + ip + addresses + struct.pack("!HHHH", 7412, port, 8 + len(payload), 0) + payload


@pytest.mark.parametrize(
    ("frame", "outgoing", "expected"),
    [
        (frame4("10.77.0.1", "239.255.0.1", 7400), True, {"ours_multicast": 1}),
        (frame4("10.77.0.1", "239.255.0.1", 7650), True, {}),
        (frame4("10.77.0.2", "239.255.0.1", 7400), False,
         {"peer_multicast": 1, "vendors": {"Fast DDS"}, "domains": {0}}),
        (frame4("10.77.0.2", "239.255.0.1", 7650), False, {"domains": {1}}),
        (frame4("10.77.0.2", "10.77.0.1", 7410), False, {"peer_unicast": 1, "vendors": {"Fast DDS"}}),
        (frame4("10.77.0.3", "239.255.0.1", 7400), False, {}),
        (frame4("10.77.0.2", "10.77.0.1", 7410, payload=b"RTPX1234"), False, {}),
        (frame4("10.77.0.2", "10.77.0.1", 7410, offset=0x2000), False, {"fragments": 1}),
        (frame4("10.77.0.1", "10.77.0.2", 7410, offset=5), True, {"fragments": 1}),
        (frame6("fd77::2", "ff02::ffff:efff:1", 7400), False,
         {"peer_multicast": 1, "vendors": {"Cyclone DDS"}, "domains": {0}}),
        (frame6("fd77::2", "fd77::1", 7411, protocol=44), False, {"fragments": 1}),
        (b"", False, {}),
        (bytes(14), False, {}),
    ],
)  # fmt: skip
def test_frames_are_counted(frame: bytes, outgoing: bool, expected: dict[str, object]) -> None:
    seen = Wire()
    count(frame, outgoing, 0, PEER, seen)
    assert seen == Wire(**expected)


def test_cut_frames_are_no_error() -> None:
    for whole in (frame4("10.77.0.2", "239.255.0.1", 7400), frame6("fd77::2", "fd77::1", 7400)):
        for length in range(len(whole)):
            count(whole[:length], False, 0, PEER, Wire())


# --- sentences -------------------------------------------------------------------------------------------------------

GOOD = {
    "here": {"rmw": "rmw_fastrtps_cpp"}, "peer": {}, "discovery_s": 0.1, "rtts_s": [0.001], "rounds": 10,
    "large_out_s": 1.0, "large_in_s": 1.0, "nodes": ["omni_dds_check"],
}  # fmt: skip
HEARD = Wire(
    listens=True, ours_multicast=3, peer_multicast=3, peer_unicast=3, to_socket=3, vendors={"Fast DDS"}, domains={0}
)
PROFILE = Profile("/x.xml", '<interfaces><allowlist><interface name="omni0"/></allowlist></interfaces>')
FACTS = Facts(
    peer="robot-2", session="up", interface="omni0", addresses=["10.77.0.1"], machine_addresses=["10.77.0.1"],
    domain=0, peer_domains=[], environment={}, profile=PROFILE, wire=HEARD, result=GOOD,
)  # fmt: skip
LOST = {**GOOD, "discovery_s": None, "rtts_s": [], "large_out_s": None, "large_in_s": None}


def test_nothing_is_said_when_all_is_well() -> None:
    assert before(FACTS) == reasons(FACTS) == remarks(FACTS) == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"session": "lost"}, "no session with robot-2 (it is lost)"),
        ({"addresses": []}, "omni0 is not there, or has no address"),
    ],
)
def test_reasons_before_the_probe(change: dict[str, object], words: str) -> None:
    (text,) = before(replace(FACTS, **change))
    assert words in text and ". Fix: " in text


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            {"peer_domains": [7], "wire": replace(HEARD, domains={3})},
            "no participant in ROS domain 0, but in 3, 7. Fix: the same ROS_DOMAIN_ID on both, or --domain 3 here",
        ),
        ({"environment": {"ROS_LOCALHOST_ONLY": "1"}}, "ROS_LOCALHOST_ONLY keeps DDS"),
        ({"environment": {"ROS_AUTOMATIC_DISCOVERY_RANGE": "OFF"}}, "ROS_AUTOMATIC_DISCOVERY_RANGE=OFF keeps DDS"),
        ({"profile": Profile("/x.xml", None)}, "/x.xml cannot be read"),
        ({"said": "All whitelist interfaces were filtered out"}, "DDS said: All whitelist"),
        ({"wire": Wire(frames=False)}, "repeat this as root"),
        ({"wire": replace(HEARD, vendors={"Cyclone DDS"})}, "uses Cyclone DDS, this shell Fast DDS"),
    ],
)
def test_reasons_of_no_discovery(change: dict[str, object], words: str) -> None:
    text = "\n".join(reasons(replace(FACTS, result=LOST, **change)))
    assert words in text


def test_reasons_of_lost_data() -> None:
    silent = {**LOST, "discovery_s": 0.1}
    assert "its replies do not arrive" in reasons(replace(FACTS, result=silent))[0]
    assert "to this robot alone" in reasons(replace(FACTS, result=silent, wire=replace(HEARD, peer_unicast=0)))[0]
    small = {**GOOD, "large_in_s": None}
    assert "the profile of omni dds" in reasons(replace(FACTS, result=small))[0]
    settings = [(SETTINGS[2], 212_992)]
    found = reasons(replace(FACTS, result=small, wire=replace(HEARD, fragments=9), settings=settings))
    assert "9 IP fragments" in found[0] and "net.core.rmem_max is 212992" in found[1]


def test_remarks() -> None:
    bad = replace(
        FACTS, wire=replace(HEARD, fragments=2, to_socket=0), settings=[(SETTINGS[0], 30)], local_only=["talker (12)"],
        profile=None, environment={"ROS_STATIC_PEERS": "10.77.0.2"},
    )  # fmt: skip
    text = "\n".join(remarks(bad))
    for words in (
        "2 IP fragments",
        "ipfrag_time is 30",
        "talker (12). Fix: restart",
        "no DDS profile",
        "a firewall here",
    ):
        assert words in text


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("<interfaceWhiteList><interface>eth0</interface><address> 10.0.0.1 </address></interfaceWhiteList>",
         ["eth0", "10.0.0.1"]),
        ('<interfaces><blocklist><interface name="wlan0"/></blocklist></interfaces>', []),
        ('<NetworkInterface address="10.0.0.1"/>', ["10.0.0.1"]),
        ('<NetworkInterface autodetermine="true"/>', []),
        ('<!-- <NetworkInterface name="eth0"/> --><a/>', []),
    ],
)  # fmt: skip
def test_what_a_profile_binds_to(text: str, names: list[str]) -> None:
    assert bound_to(text) == names


def test_which_profile_counts(tmp_path: Path) -> None:
    newer, older = tmp_path / "3.xml", tmp_path / "2.xml"
    newer.write_text("<new/>")
    older.write_text("<old/>")
    both = {"FASTDDS_DEFAULT_PROFILES_FILE": str(newer), "FASTRTPS_DEFAULT_PROFILES_FILE": str(older)}
    assert profile_of({**both, "ROS_DISTRO": "kilted"}) == Profile(str(newer), "<new/>")
    assert profile_of({**both, "ROS_DISTRO": "jazzy"}) == Profile(str(older), "<old/>")
    cyclone = {**both, "RMW_IMPLEMENTATION": "rmw_cyclonedds_cpp"}
    assert profile_of(cyclone) is None
    assert profile_of({**cyclone, "CYCLONEDDS_URI": "<C/>"}) == Profile("in CYCLONEDDS_URI", "<C/>")
    assert profile_of({**cyclone, "CYCLONEDDS_URI": f"file://{tmp_path}/none"}) == Profile(f"{tmp_path}/none", None)
    assert profile_of({}) is None
