"""Allow lists: their text, their files, and what a Nucleus makes of them."""

from __future__ import annotations

import os
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Interface
from pathlib import Path

import pytest
from support.nucleus_net import Edge, Net

from omni_core.config.values import ClusterFile
from omni_core.crypto.identity import Identity, key_text
from omni_core.crypto.record import signed
from omni_core.drops import DropReason
from omni_core.errors import ConfigError
from omni_core.io.allow_files import AllowFiles
from omni_core.signaling.admission import ClusterPolicy
from omni_core.signaling.allow_list import AllowList, parse_allow_list
from omni_core.signaling.client_events import PeerLeft, Refused
from omni_core.signaling.denials import FOREVER, Denial
from omni_core.signaling.leases import Vip4Pool
from omni_core.signaling.messages import Status

KEYS = [key_text(Identity.from_seed(bytes([n]) * 32).public_key) for n in range(4)]
ADMISSION_KEY = b"a" * 32


# --- the text -------------------------------------------------------------------------------------------------------


def test_a_list() -> None:
    found = parse_allow_list(
        f"# robots\n\n{KEYS[0]}\n  {KEYS[1]}\tname=robot-7   vip4=10.77.0.7/24 # the lift\n"
        f"{KEYS[2]} vip4=10.77.0.8/16\n",
        "/etc/a",
    )
    first, second, third = found.keys.values()
    assert (first.line, first.name, first.vip4, first.lease) == (3, "", None, None)
    assert (second.line, second.name, second.vip4) == (4, "robot-7", IPv4Interface("10.77.0.7/24"))
    assert str(third.lease) == "10.77.0.8/16"
    assert set(found.reserved) == {bytes([10, 77, 0, 7]), bytes([10, 77, 0, 8])}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("nonsense", "line 1: 'nonsense'"),
        (f"\n{KEYS[0]} robot-7", "line 2: 'robot-7' is not understood"),
        (f"{KEYS[0]} colour=red", "line 1: 'colour=red' is not understood"),
        (f"{KEYS[0]} name=a name=b", "line 1: name is given twice"),
        (f"{KEYS[0]} name=a/b", "line 1: 'a/b' is not a name"),
        (f"{KEYS[0]} vip4=10.77.0.7", "line 1: '10.77.0.7' has no prefix length"),
        (f"{KEYS[0]} vip4=10.77.0.0/24", "line 1: 10.77.0.0 is the network"),
        (f"{KEYS[0]}\n{KEYS[0]}", "line 2: this key is in line 1 already"),
        (f"{KEYS[0]} name=a\n{KEYS[1]} name=a", "line 2: a is the name in line 1 already"),
        (f"{KEYS[0]} vip4=10.0.0.1/8\n{KEYS[1]} vip4=10.0.0.1/24", "line 2: 10.0.0.1 is reserved in line 1 already"),
        (f"{KEYS[0][:-1]}", "line 1: "),
        ("\0", "line 1: "),
    ],
)
def test_a_mistake_is_named_with_file_and_line(text: str, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_allow_list(text, "/etc/a")
    assert str(caught.value).startswith(f"allow_files: /etc/a, {words}"), caught.value
    assert ". Fix: " in str(caught.value)


# --- the file -------------------------------------------------------------------------------------------------------


def files(path: Path) -> AllowFiles:
    return AllowFiles([ClusterFile("fleet", str(path))])


def test_a_file_is_read_again_when_it_has_settled(tmp_path: Path) -> None:
    path = tmp_path / "allow"
    path.write_text(KEYS[0] + "\n")
    watched = files(path)
    watched.load()
    assert watched.look() == [] and len(watched.lists["fleet"]) == 1
    path.write_text(f"{KEYS[0]}\n")  # as it is written by an editor that truncates: first a part
    assert watched.look() == []
    path.write_text(f"{KEYS[0]}\n{KEYS[1]}\n")
    assert watched.look() == [], "it has changed since the last look"
    (reread,) = watched.look()
    assert reread.cluster == "fleet" and reread.allow_list is not None and len(reread.allow_list) == 2
    other = tmp_path / "new"
    other.write_text(KEYS[2] + "\n")
    os.replace(other, path)
    assert watched.look() == []
    assert [each.allow_list is not None for each in watched.look()] == [True]
    assert watched.look() == []


@pytest.mark.parametrize("damage", ["broken", "gone", "binary", "directory", "open to all"])
def test_a_file_that_cannot_be_used_is_said_once_and_the_list_stays(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "allow"
    path.write_text(KEYS[0] + "\n")
    watched = files(path)
    watched.load()
    path.unlink()
    if damage == "broken":
        path.write_text("rubbish")
    elif damage == "binary":
        path.write_bytes(b"\xff\xfe")
    elif damage == "directory":
        path.mkdir()
    elif damage == "open to all":
        path.write_text(KEYS[1])
        path.chmod(0o666)
    found = [each for _ in range(5) for each in watched.look()]
    assert len(found) == 1 and found[0].allow_list is None and isinstance(found[0].refused, ConfigError)
    assert str(path) in str(found[0].refused)
    assert next(iter(watched.lists["fleet"].keys.values())).line == 1
    if path.is_dir():
        path.rmdir()
    path.unlink(missing_ok=True)
    path.write_text(f"{KEYS[1]}\n{KEYS[2]}\n")
    found = [each for _ in range(3) for each in watched.look()]
    assert len(found) == 1 and found[0].allow_list is not None and len(found[0].allow_list) == 2


def test_a_start_needs_the_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        files(tmp_path / "none").load()
    assert str(caught.value).startswith("allow_files: ") and "does not exist" in str(caught.value)


# --- who may join ---------------------------------------------------------------------------------------------------


def allow(*lines: str) -> AllowList:
    return parse_allow_list("\n".join(lines), "/etc/omni/fleet.allow")


def text_of(identity: Identity, rest: str = "") -> str:
    return f"{key_text(identity.public_key)} {rest}"


class Case:
    """A Nucleus with an allow list of one key, and edges with that key or another."""

    def __init__(self, seed: int, rest: str = "", secret: bytes | None = None) -> None:
        self.net = Net(seed, [ClusterPolicy("fleet", secret)])
        self.identity = Identity.generate(self.net.rng.randbytes)
        self.set(text_of(self.identity, rest))

    def set(self, *lines: str) -> list[str]:
        removed = self.net.nucleus.admin.set_allow_list("fleet", allow(*lines), self.net.now)
        self.net.pump_nucleus()
        return [edge.name for edge in removed]

    def edge(
        self, name: str = "", vip4: str | None = None, identity: Identity | None = None, **options: object
    ) -> Edge:
        identity = identity or self.identity
        version = self.net.unix_ns(self.net.now)
        record = signed(identity, "fleet", version=version, vip4=vip4, name=name)
        edge = self.net.edge(identity=identity, record=record, **options).start()
        self.net.run(1)
        return edge


def refusal(edge: Edge) -> str:
    assert not edge.registered
    return edge.of(Refused)[-1].reason


@pytest.fixture
def other(seed: int) -> Identity:
    return Identity.from_seed(seed.to_bytes(32, "big"))


def test_only_listed_keys_may_register(seed: int, other: Identity) -> None:
    case = Case(seed)
    assert case.edge().registered
    sentence = refusal(case.edge(identity=other))
    assert "not in the allow list" in sentence and text_of(other).strip() in sentence
    assert "/etc/omni/fleet.allow" in sentence
    assert case.net.nucleus.drops[DropReason.NOT_ADMITTED] == 1


@pytest.mark.parametrize(
    ("rest", "name", "vip4", "words"),
    [
        ("name=robot-7", "robot-7", None, ""),
        ("name=robot-7", "robot-8", None, "is to be named 'robot-7' and says 'robot-8'"),
        ("name=robot-7", "", None, "is to be named 'robot-7' and says ''"),
        ("vip4=10.77.0.7/24", "any", "10.77.0.7/24", ""),
        ("vip4=10.77.0.7/24", "any", "10.77.0.8/24", "10.77.0.7 is this robot's, and it has 10.77.0.8"),
        ("vip4=10.77.0.7/24", "any", None, "and it has none"),
        ("", "any", "10.77.0.9/24", ""),
    ],
)
def test_name_and_vip_are_as_listed(seed: int, rest: str, name: str, vip4: str | None, words: str) -> None:
    edge = Case(seed, rest).edge(name, vip4)
    if words:
        assert words in refusal(edge) and "/etc/omni/fleet.allow, line 1" in refusal(edge)
    else:
        assert edge.registered


def test_a_reserved_vip_is_nobody_elses(seed: int, other: Identity) -> None:
    case = Case(seed)
    case.set(text_of(other), text_of(case.identity, "vip4=10.77.0.7/24"))
    assert "VIP 10.77.0.7 is reserved for key" in refusal(case.edge(vip4="10.77.0.7/24", identity=other))


@pytest.mark.parametrize("secret", [ADMISSION_KEY, b"b" * 32, None])
def test_secret_and_allow_list_are_both_needed(seed: int, other: Identity, secret: bytes | None) -> None:
    case = Case(seed, secret=ADMISSION_KEY)
    good = secret == ADMISSION_KEY
    assert case.edge(admission_key=secret).registered is good
    sentence = refusal(case.edge(identity=other, admission_key=secret))
    assert ("allow list" if good else "secret") in sentence, "who lacks the secret learns nothing of the list"


def test_a_list_that_changes_takes_edges_out_at_once(seed: int, other: Identity) -> None:
    case = Case(seed)
    case.set(text_of(case.identity), text_of(other))
    first, second = case.edge("one", "10.77.0.1/24"), case.edge("two", "10.77.0.2/24", other)
    assert first.registered and second.registered
    case.net.run(5)
    assert case.set(text_of(other)) == ["one"]
    assert case.net.run(0.5, lambda: not first.registered), "it hears why, long before its next heartbeat"
    case.net.run(1)
    assert "not in the allow list" in refusal(first)
    assert [event.public_key for event in second.of(PeerLeft)] == [first.key]
    assert case.set(text_of(other), text_of(case.identity)) == []
    assert case.net.run(40, lambda: first.registered)
    assert case.set(text_of(other, "vip4=10.77.0.3/24"), text_of(case.identity, "name=one")) == ["two"]
    assert case.set(text_of(other), text_of(case.identity, "name=uno")) == ["one"]
    assert case.set(text_of(other, "vip4=10.77.0.1/24"), text_of(case.identity)) == []


def test_without_a_list_again_everyone_may_join(seed: int, other: Identity) -> None:
    case = Case(seed)
    case.net.nucleus.admin.set_allow_list("fleet", None, case.net.now)
    assert case.edge(identity=other).registered


# --- deny -----------------------------------------------------------------------------------------------------------


def test_a_denied_key_is_told_and_stays_out_until_it_is_allowed(net: Net) -> None:
    edge, peer = net.edge().start(), net.edge().start()
    assert net.run(2, net.all_registered)
    net.nucleus.admin.deny(Denial(edge.key, FOREVER, "stolen"), net.now)
    net.pump_nucleus()
    assert net.run(1, lambda: bool(edge.of(Refused)))
    assert "(stolen)" in refusal(edge) and key_text(edge.key) in refusal(edge)
    assert net.run(1, lambda: peer.of(PeerLeft) != [])
    net.run(300)
    assert not edge.registered and edge.key not in peer.known
    net.nucleus.admin.undeny(edge.key, net.now)
    assert net.run(60, net.all_registered)


def test_a_denial_for_an_hour_ends(net: Net) -> None:
    edge = net.edge()
    net.nucleus.admin.deny(Denial(edge.key, net.now + 3600, ""), net.now)
    edge.start()
    net.run(3599)
    assert not edge.registered
    assert net.run(60, net.all_registered)
    assert list(net.nucleus.store.denials(net.now)) == []


def test_a_kicked_edge_comes_back(net: Net) -> None:
    edge, peer = net.edge().start(), net.edge().start()
    assert net.run(2, net.all_registered)
    net.nucleus.admin.kick(edge.key, net.now)
    net.pump_nucleus()
    assert net.nucleus.store.get(edge.key) is None
    assert net.run(1, lambda: edge.key not in peer.known)
    assert net.run(60, lambda: edge.registered and net.nucleus.store.get(edge.key) is not None)


@pytest.fixture
def net(seed: int) -> Net:
    return Net(seed)


# --- leases and the list --------------------------------------------------------------------------------------------


def test_a_listed_vip_is_what_an_edge_without_one_gets(seed: int) -> None:
    pool = Vip4Pool(IPv4Address("10.77.0.1"), IPv4Address("10.77.0.2"), 24)
    policy = ClusterPolicy("fleet", pool=pool)
    listed = allow(f"{KEYS[0]} vip4=10.77.0.1/24")
    made = policy.with_allow_list(listed, pool)
    assert made.pool is not None and list(made.pool.candidates(b"k" * 32)) == [bytes([10, 77, 0, 2])]
    assert replace(made).entry(Identity.from_seed(bytes(32)).public_key) is not None
    assert Status.NOT_ALLOWED == 9 and Status.DENIED == 10
