"""Group frames and frames for the local port on real devices, with XDP on omni0-syn in driver and in generic mode.

a socket on omni0 == omni0-syn [synapse_tx][synapse_out]     omni0-tap [synapse_tx, generic][synapse_out]
"""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from support.group_frames import SOURCE, group_mac, udp
from support.own_network import own_network
from support.planes import frame
from support.rows import FOUR, FRIEND, OWN, SIX, STRANGER, World, prefix
from support.rows_groups import WATCHED
from support.synapse import MakeRig

from omni_core.constants import ETHERNET_HEADER
from omni_core.dataplane.groups import GroupPolicy
from omni_core.drops import DropReason
from omni_core.io import overlay
from omni_core.io.journal import Journal
from omni_core.io.netlink import Netlink, RouteInfo
from omni_core.io.overlay import OverlayPlan
from omni_core.io.synapse import devices
from omni_core.io.synapse.abi import SlowKind, Way
from omni_core.io.synapse.loader import Loaded
from omni_core.io.tap import Tap
from omni_core.io.undo import undo as undo_journal
from omni_core.types import BROADCAST
from tools.netlab import wait_for

pytestmark = pytest.mark.netns

ALL = 3  # ETH_P_ALL
MTU = 1418
NOWHERE = 4711  # ifindex of the underlay: what is sealed ends there


class Bench(NamedTuple):
    world: World
    tap: Tap  # the Ganglion's side of omni0-tap
    port: socket.socket  # on omni0

    def from_port(self) -> list[bytes]:
        """What has come into omni0, apart from what was sent there."""
        got = []
        try:
            while True:
                data, (_, _, kind, *_) = self.port.recvfrom(4096)
                if kind != socket.PACKET_OUTGOING:
                    got.append(data)
        except BlockingIOError:
            return got


@pytest.fixture(params=["driver", "generic"])
def bench(
    request: pytest.FixtureRequest, synapse: Loaded, make_rig: MakeRig, tmp_path: Path, seed: int
) -> Iterator[Bench]:
    world = World(make_rig(OWN, route=lambda endpoint: RouteInfo(NOWHERE, "192.0.2.1", 1500)), seed)
    journal = Journal(str(tmp_path / "omni0.json"))
    with own_network(), Netlink() as netlink:
        for scope in ("all", "default"):
            Path(f"/proc/sys/net/ipv6/conf/{scope}/disable_ipv6").write_text("1")  # omni0 says nothing by itself
        plan = OverlayPlan(name="omni0", mac=OWN, mtu=MTU, addresses=())
        made = overlay.create(plan, journal, netlink, devices.make_devices)
        with world.rig.config() as config:
            config.syn_ifindex, config.tap_ifindex, config.port_ifindex = (
                made.syn_index,
                made.tap_index,
                made.port_index,
            )
        assert devices.attach_programs(made, synapse, netlink)[0] == "driver"
        if request.param == "generic":
            syn, program = netlink.find("omni0-syn"), synapse.programs["synapse_tx"]
            assert syn is not None
            netlink.detach_xdp(syn, program.fd, "driver")
            netlink.attach_xdp(syn, program.fd, "generic")
        with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ALL)) as port:
            port.bind(("omni0", ALL))
            port.setblocking(False)
            yield Bench(world, made.tap, port)
        made.close()
        undo_journal(journal, netlink)


def test_what_the_ganglion_gives_arrives_at_omni0_and_goes_nowhere_else(bench: Bench) -> None:
    world = bench.world
    table = {(row.mac, row.peer) for row in world.plane.fdb(world.now)}
    longest = frame(OWN, STRANGER, size=MTU + ETHERNET_HEADER)
    given = [WATCHED, frame(OWN, FRIEND), frame(BROADCAST, STRANGER, 0x0806), frame(STRANGER, OWN), longest]
    world.plane.frames_to_port(given, world.now)
    assert bench.tap.write_batch(world.plane.take_tap_packets()) == len(given)
    got: list[bytes] = []
    wait_for(lambda: got.extend(bench.from_port()) or len(got) >= len(given), 5, "all frames at omni0")
    assert got == given, "in order, to the last byte"
    assert world.rig.ways() == {Way.RX_LOCAL: len(given)}
    assert bench.tap.read_batch(10) == []
    assert {(row.mac, row.peer) for row in world.plane.fdb(world.now)} == table, "nothing was learned"


def test_a_policy_of_groups(bench: Bench) -> None:
    """What is watched is shown, what nobody listens to ends, and the rest is cloned for its peers and sealed."""
    world, plane = bench.world, bench.world.plane
    plane.set_static(SOURCE, None)
    plane.set_flood([FOUR, SIX, *range(1000, 1060)])
    to_both, to_nobody, elsewhere = (udp(f"239.1.2.{n}", 5000) for n in (3, 4, 5))
    policy = GroupPolicy(
        {(group_mac("239.1.2.3"), 5000): frozenset({FOUR, SIX}), (group_mac("239.1.2.4"), 0): frozenset()},
        frozenset({1000}),
        watch=True,
    )
    plane.set_groups(policy, time.monotonic() + 100.0)
    for data in (to_both, to_nobody, elsewhere, WATCHED):
        bench.port.send(data)
    expected = {Way.TX_FLOODED: 2, Way.TX_NOBODY: 1, Way.TX_WATCHED: 1, Way.OUT_CLONED: 3}
    expected |= {Way.TX_SEALED: 2, Way.OUT_SENT: 2}

    def done() -> bool:
        ways = world.rig.ways()
        return all(ways[way] == count for way, count in expected.items())

    wait_for(done, 5, f"{expected}")
    shown: list[bytes] = []
    wait_for(lambda: shown.extend(bench.tap.read_batch(10)) or shown, 5, "what the Ganglion is shown")
    assert shown == [prefix(SlowKind.GROUP) + WATCHED]
    assert set(world.rig.ways()) - set(expected) == {DropReason.NO_SESSION}, "1000 has none"
