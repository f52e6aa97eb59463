"""Thousands of edges and two Nuclei on the simulated network; who lives, and where, is known."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import IPv4Interface

from omni_core.constants import HEARTBEAT_INTERVAL, HEARTBEATS_MISSED
from omni_core.crypto.identity import Identity
from omni_core.engines.settings import GanglionSettings, NucleusSettings
from omni_core.signaling.admission import ClusterPolicy
from omni_core.sim.lean_edge import LeanEdge
from omni_core.sim.network import SimNet
from omni_core.sim.nucleus import SimNucleus
from omni_core.sim.redis import RedisModel
from omni_core.sim.trace import DELIVERED, Fate, Trace
from omni_core.types import Endpoint, PublicKey

EDGES_OF_CLUSTER = 1000
SMALL = 60  # edges of the one cluster that is a mesh, where everyone is told of everyone
SETTLED = 16.0  # s: a request repeated three times on a lossy link (1 + 2 + 4 + 8 s)
ROUNDS = 3  # of questions: one in a thousand gets no answer at 5 % loss
DEAD_AFTER = HEARTBEATS_MISSED * HEARTBEAT_INTERVAL


class BriefTrace(Trace):
    """Without the digest, which takes longer than what it is of."""

    def add(self, fate: Fate, data: bytes) -> None:
        self.fates.append(fate)
        self.verdicts[fate.verdict] += 1
        if fate.verdict == DELIVERED:
            self.delivered[fate.type] += 1


class NucleusFleet:
    """``edges``: those that live, by key. ``gone``: key -> when."""

    def __init__(self, net: SimNet, edges: int) -> None:
        self.net = net
        net.trace = BriefTrace()
        names = ["mesh", *(f"fleet-{n}" for n in range(max(1, (edges - SMALL) // EDGES_OF_CLUSTER)))]
        self.clusters = names
        identity = Identity.generate(net.random.randbytes)
        policies = [ClusterPolicy(name) for name in names]
        self.redis = RedisModel(lambda: net.now + 1.7e9, net.random.randbytes)
        self.nuclei = [SimNucleus(f"nucleus-{n}", policies, identity, redis=self.redis) for n in (1, 2)]
        for nucleus in self.nuclei:
            net.add_host(nucleus)
            nucleus.start()
        self.settings = tuple(
            NucleusSettings(nucleus.identity.public_key, (Endpoint(nucleus.addresses[0], nucleus.port),))
            for nucleus in self.nuclei
        )
        self.edges: dict[PublicKey, LeanEdge] = {}
        self.gone: dict[PublicKey, float] = {}
        self.lives_since = 0.0  # when the Redis came back
        self.unsettled: dict[PublicKey, float] = {}  # since when: came or moved
        self.clusters_of: dict[str, list[LeanEdge]] = {name: [] for name in names}
        self._number = 0
        self._churning = False

    # --- who comes and goes ---------------------------------------------------------------------------------------

    def add(self) -> LeanEdge:
        self._number += 1
        number = self._number
        large = self.clusters[1:]
        cluster = "mesh" if len(self.clusters_of["mesh"]) < SMALL and number % 2 == 0 else large[number % len(large)]
        vip4 = IPv4Interface(f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}/8")
        settings = GanglionSettings(cluster, f"edge-{number}", vip4, self.settings)
        edge = LeanEdge(settings.name, settings, Identity.generate(self.net.random.randbytes))
        self.net.add_host(edge)
        self.edges[edge.key] = edge
        self.clusters_of[cluster].append(edge)
        self.unsettled[edge.key] = self.net.now
        edge.start()
        return edge

    def arrive(self, count: int, seconds: float) -> None:
        for number in range(count):
            self.net.at(self.net.now + seconds * number / count, self.add)

    def remove(self, edge: LeanEdge, goodbye: bool) -> None:
        (edge.stop if goodbye else edge.crash)()
        del self.edges[edge.key]
        self.clusters_of[edge.settings.cluster].remove(edge)
        self.gone[edge.key] = self.net.now

    def churn(self, per_minute: float) -> None:
        """Edges go (half of them without a word), as many come, and as many move; ``per_minute`` each."""
        self._churning = True
        self._churn(60 / per_minute)

    def calm(self) -> None:
        self._churning = False

    def _churn(self, pause: float) -> None:
        if not self._churning:
            return
        rng = self.net.random
        self.remove(rng.choice(list(self.edges.values())), rng.random() < 0.5)
        self.add()
        moving = rng.choice(list(self.edges.values()))
        self.unsettled[moving.key] = self.net.now
        moving.roam()
        self.net.at(self.net.now + pause * (0.5 + rng.random()), self._churn, pause)

    # --- looking --------------------------------------------------------------------------------------------------

    def registered(self) -> int:
        return sum(edge.registered for edge in self.edges.values())

    def settled(self, edge: LeanEdge) -> bool:
        return self.net.now - self.unsettled[edge.key] > SETTLED

    def check_queries(self, asking: Callable[[LeanEdge], bool] = lambda edge: True, *, departed: bool = True) -> int:
        """Every edge that is ``asking`` looks for one of them in its cluster, and some look for the ``departed``. All
        answers have to be right; who got none, for the network lost them, asks again. -> how many there were.
        """
        net, rng = self.net, self.net.random
        askers = [edge for edge in self.edges.values() if self.settled(edge) and asking(edge)]
        questions = []
        for asker in askers:
            peer = rng.choice(self.clusters_of[asker.settings.cluster])
            if peer is not asker and self.settled(peer) and asking(peer):
                questions.append((asker, peer.key))
        for key, when in self.gone.items():
            if departed and self._is_over(when, net.now):
                questions.append((rng.choice(askers), key))
        unanswered, began = questions, net.now
        for _ in range(ROUNDS):
            for asker, key in unanswered:
                if asker.running:
                    net.at(net.now + 2 * rng.random(), asker.ask, key)
            net.run(12)  # 1 + 2 + 4 s of repetitions, and the two before
            unanswered = [each for each in unanswered if each[1] in each[0].given_up]
            if not unanswered:
                break
        wrong = [text for asker, key in questions if (text := self._judge(asker, key, began))]
        assert not wrong, f"{len(wrong)} of {len(questions)} at {net.now:.1f}: {wrong[:10]}"
        return len(questions)

    def _judge(self, asker: LeanEdge, key: PublicKey, began: float) -> str:
        """What is wrong; "" for nothing, also when one of both has come, moved or gone meanwhile."""
        answer, peer = asker.answers.get(key), self.edges.get(key)
        if not asker.running:
            return ""
        if key in asker.given_up or answer is None:
            return f"{asker.name} ({asker.nuclei.state}) got no answer"
        if (
            peer is not None
            and self.unsettled[key] < began - SETTLED
            and (answer.record is None or answer.endpoints[0] != peer.at)
        ):
            return f"{asker.name} was told {answer.endpoints}, {peer.name} ({peer.nuclei.state}) is at {peer.at}"
        if peer is None and answer.record is not None and self._is_over(self.gone[key], began):
            return f"{asker.name} was told of {answer.record.name}, gone {began - self.gone[key]:.0f} s ago"
        return ""

    def _is_over(self, gone: float, now: float) -> bool:
        """A goodbye may be lost, or find no Nucleus; a Redis that has lost all gives those it is told of a life."""
        return now - max(gone, self.lives_since) > DEAD_AFTER + SETTLED

    def departed_that_are_known(self, life: float) -> list[str]:
        """Edges of the mesh that know a peer which is gone for longer than ``life`` s."""
        return [
            f"{edge.name} knows a peer that went {self.net.now - self.gone[key]:.0f} s ago"
            for edge in self.clusters_of["mesh"]
            for key in edge.known
            if key in self.gone and self.net.now - self.gone[key] > life
        ]

    def views_of_the_mesh_are_right(self) -> bool:
        """Each pair of the mesh can meet: nobody knows a peer that is gone or elsewhere, and one of each two knows."""
        mesh = self.clusters_of["mesh"]
        places = {edge.key: edge.at for edge in mesh}
        told = all(places.get(key) == at for edge in mesh for key, at in edge.known.items())
        return told and all(a is b or a.key in b.known or b.key in a.known for a in mesh for b in mesh)

    def uses_the_first(self, edge: LeanEdge) -> bool:
        """While the Nuclei cannot talk, those who use one find those who use it."""
        return edge.nuclei.endpoint == self.settings[0].endpoints[0]
