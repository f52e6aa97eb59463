"""The Nuclei of one edge. Part of the Ganglion engine, for which they are one: NucleusChoice says which is used.

Each has a client and Sessions of its own, for two Nuclei may have one key: packets are told apart by the index of the
handshake, or the id of the session, that they belong to. What the cluster is known by (roster, records) is shared, so
that the edge goes on where it was when it changes to another Nucleus.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from omni_core.crypto.identity import key_text
from omni_core.drops import DropCounters
from omni_core.engines.nucleus_choice import Nucleus, NucleusChoice
from omni_core.engines.settings import NucleusSettings
from omni_core.engines.status import NucleusLink
from omni_core.session.sessions import Sessions
from omni_core.signaling.client import NucleusClient
from omni_core.signaling.client_events import (
    ClientEvent,
    NucleusLost,
    Refused,
    Registered,
    Vip4Leased,
    Vip4NotLeased,
)
from omni_core.signaling.roster import Roster
from omni_core.types import Endpoint, Mac, PublicKey, RandomBytes, Vip, random_fraction
from omni_core.wire.control import ControlType, receiver_index, session_id


class Nuclei:
    """Drain ``take_events`` and ``take_datagrams`` after every call."""

    def __init__(
        self,
        nuclei: Sequence[NucleusSettings],
        roster: Roster,
        *,
        make: Callable[[NucleusSettings], tuple[NucleusClient, Sessions]],
        random: RandomBytes,
    ) -> None:
        """``nuclei``: at least one, the preferred one first. ``make``: the client of one, with its Sessions; they share
        ``roster``."""
        self._roster = roster
        self._events: list[ClientEvent] = []
        self._settings = list(nuclei)
        self._all = [Nucleus(*make(each), each.endpoints[0] if each.endpoints else None) for each in nuclei]
        self._choice = NucleusChoice(
            self._all,
            fraction=lambda: random_fraction(random),
            emit=self._events.append,
        )

    # --- what the engine wants ------------------------------------------------------------------------------------

    @property
    def state(self) -> str:
        """``idle``, ``connecting``, ``registered`` or ``refused``: that of the one that is used, which may refuse while
        another one has not been asked yet."""
        return "connecting" if self._choice.hopeful else self._choice.used.client.state

    @property
    def can_ask(self) -> bool:
        """A question would be answered: now, or as soon as the next Nucleus has let us in."""
        return self.state == "registered" or self._choice.coming is not None

    @property
    def endpoint(self) -> Endpoint | None:
        """Where the one that is used was last heard."""
        return self._choice.used.client.endpoint

    @property
    def observed(self) -> Endpoint | None:
        """Where it saw us last."""
        return self._choice.used.client.observed

    @property
    def record(self) -> bytes:
        """Ours, signed, as it is told."""
        return self._choice.used.client.record

    @property
    def cluster_size(self) -> int:
        return self._choice.used.client.cluster_size

    @property
    def drops(self) -> DropCounters:
        total = DropCounters()
        for each in self._all:
            total.update(each.client.drops.as_dict())
            total.update(each.sessions.drops.as_dict())
        return total

    def start(self, now: float) -> None:
        """Idempotent."""
        if self.state == "idle":
            self._choice.start(now)
            self._follow(now)

    def stop(self, now: float) -> None:
        """Say goodbye to all that know us; send what ``take_datagrams`` has afterwards. Idempotent."""
        for each in self._all:
            each.client.stop(now)
            self._follow_sessions(each, now)
        self._choice.stop()
        self._roster.clear()

    def set_local_endpoints(self, endpoints: Sequence[Endpoint], now: float) -> None:
        for each in self._all:
            each.client.set_local_endpoints(endpoints, now)
        self._follow(now)

    def set_nucleus_endpoints(self, number: int, endpoints: Sequence[Endpoint], now: float) -> None:
        """The host name of the one with this place in the list leads elsewhere now."""
        each = self._all[number]
        each.place = endpoints[0] if endpoints else None
        each.client.contact.set_endpoints(endpoints, now)
        self._follow(now)

    def query(self, address: Vip | Mac | PublicKey, now: float) -> None:
        """QueryAnswered follows."""
        self._choice.used.client.query(address, now)
        self._follow(now)

    def set_record(self, record: bytes, now: float) -> None:
        """Ours has changed. The Nucleus that leased us another VIP4 hears it at once."""
        for each in self._all:
            each.client.set_record(record, now)
        self._follow(now)

    def prepare_record(self, record: bytes, now: float) -> None:
        """For the Nucleus that we are about to change to: ours when we are registered there."""
        if self._choice.coming is not None:
            self._choice.coming.client.prepare_record(record, now)
            self._follow(now)

    def decline(self, reason: str, now: float) -> None:
        """We do not go to the Nucleus that we were about to change to."""
        if self._choice.coming is not None:
            self._choice.refused(self._choice.coming, Refused(reason), now)
            self._follow(now)

    def links(self, now: float) -> list[NucleusLink]:
        """In the order of preference."""
        return [self._link(settings, each, now) for settings, each in zip(self._settings, self._all, strict=True)]

    # --- pump -----------------------------------------------------------------------------------------------------

    def receive(self, packet: bytes, source: Endpoint, now: float) -> None:
        """A packet of type 0x04. Never raises on bytes from the network; what is nobody's is counted once."""
        session = session_id(packet)
        owner = next((each for each in self._all if each.client.owns(session)), self._all[0])
        owner.client.receive(packet, source, now)
        self._follow(now)

    def receive_handshake(self, packet: bytes, source: Endpoint, now: float) -> bool:
        """Whether it is the answer to an initiation to a Nucleus."""
        if packet[0] not in (ControlType.RESPONSE, ControlType.COOKIE_REPLY):
            return False
        index = receiver_index(packet)
        for each in self._all:
            if each.sessions.owns_index(index):
                each.sessions.receive(packet, source, now)
                self._follow(now)
                return True
        return False

    def next_timer(self) -> float | None:
        times = [self._choice.next_timer()]
        for each in self._all:
            times += [each.sessions.next_timer(), each.client.next_timer()]
        return min((t for t in times if t is not None), default=None)

    def handle_timer(self, now: float) -> None:
        for each in self._all:
            each.sessions.handle_timer(now)
            self._follow_sessions(each, now)
            each.client.handle_timer(now)
        self._follow(now)

    def take_datagrams(self) -> list[tuple[bytes, Endpoint]]:
        return [
            datagram
            for each in self._all
            for part in (each.sessions.take_datagrams(), each.client.take_datagrams())
            for datagram in part
        ]

    def take_events(self) -> list[ClientEvent]:
        events = list(self._events)
        self._events.clear()
        return events

    # --- parts ----------------------------------------------------------------------------------------------------

    def _follow(self, now: float) -> None:
        """What happened, and what is to be done about it, which may make something happen."""
        while True:
            happened = False
            for each in self._all:
                self._follow_sessions(each, now)
                for event in each.client.take_events():
                    happened = True
                    self._handle(each, event, now)
            if not happened:
                self._choice.decide(now)
                if not any(each.client.has_events for each in self._all):
                    return

    def _follow_sessions(self, each: Nucleus, now: float) -> None:
        while events := each.sessions.take_events():
            for event in events:
                each.client.on_session_event(event, now)

    def _handle(self, each: Nucleus, event: ClientEvent, now: float) -> None:
        if isinstance(event, Registered):
            self._choice.registered(each, event, now)
        elif isinstance(event, Refused):
            self._choice.refused(each, event, now)
        elif isinstance(event, NucleusLost):
            self._choice.lost(each, event, now)
        elif isinstance(event, (Vip4Leased, Vip4NotLeased)) and each is not self._choice.used:
            # Our VIP4 is what the Nucleus says that is used. One that would take it from us is not worth a change.
            if isinstance(event, Vip4NotLeased) and self._choice.since is not None:
                self._choice.refused(each, Refused(event.reason), now)
            else:
                self._events.append(replace(event, ahead=True))
        else:
            self._events.append(event)

    def _link(self, settings: NucleusSettings, each: Nucleus, now: float) -> NucleusLink:
        client, health = each.client, each.client.health
        active = each is self._choice.used
        return NucleusLink(
            endpoint=str(client.endpoint or each.place or ""),
            public_key=key_text(settings.public_key),
            role="active" if active else "cold" if client.state == "idle" else "standby",
            state=client.state,
            reason=health.reason,
            registered_s=now - self._choice.since if active and self._choice.since is not None else None,
            last_answer_age_s=None if health.last_answer is None else max(0.0, now - health.last_answer),
            rtt_s=health.rtt,
            draining=health.draining,
        )
