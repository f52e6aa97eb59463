"""A Store that several Nuclei share, in a Redis. Sans-IO: its owner executes its commands and hands back replies.

What is read comes from a replica in memory. What is written is decided there by scripts, one at a time for all Nuclei,
and counts when the replica has heard of it by the stream of changes.

    connected: commands ──> Redis ──> stream ──> replica         epoch of the database
    branch:    the shared store is away; the replica goes on     an epoch of its own, from a known number on
    rejoin:    load, claim again what was registered here, repeat what has gone, load again ──> connected

Redis changed its run_id: it has restarted, and may have lost its last changes, whose numbers it will give again. So the
database gets a new epoch then, and remembers up to which number the older one agrees (its lineage).
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Collection, Iterable
from functools import partial

from omni_core.constants import (
    LEASE_TIME,
    MESH_LIMIT,
    STORE_CANDIDATES,
    STORE_EXPIRE_INTERVAL,
    STORE_PATIENCE,
    STORE_TOUCH_INTERVAL,
)
from omni_core.signaling.denials import Denial
from omni_core.signaling.edge import Edge
from omni_core.signaling.endpoints import PackedEndpoint
from omni_core.signaling.lease_book import HeldLease
from omni_core.signaling.leases import Vip4Pool
from omni_core.signaling.shared.commands import Command, Reply, Unexpected, pairs, word
from omni_core.signaling.shared.entries import MalformedEntry, digits
from omni_core.signaling.shared.epochs import Epochs
from omni_core.signaling.shared.pending import Pending, PendingClaim
from omni_core.signaling.shared.reading import ReplicaReader
from omni_core.signaling.shared.rejoin import repeated, unknown_there
from omni_core.signaling.shared.replica import Replica, Snapshot, parse_snapshot
from omni_core.signaling.shared.requests import Requests
from omni_core.signaling.store import Claimed, Conflict, Hint, Leased, Notice, new_epoch
from omni_core.types import PublicKey, RandomBytes

_HINTS_MAX = 1024


class SharedStore(ReplicaReader):
    """See Store. ``nucleus``: a name that no other Nucleus has; of this process, for they may share a key."""

    def __init__(
        self,
        nucleus: str,
        clusters: Collection[str],
        *,
        lifetime: float,
        random: RandomBytes,
        mesh_limit: int = MESH_LIMIT,
        lease_time: float = LEASE_TIME,
    ) -> None:
        """``lifetime``: s from a heartbeat to an edge's departure, the same at all Nuclei."""
        self.nucleus = nucleus
        self.lease_time = lease_time
        self.lifetime = lifetime
        self.available = False
        self.since_when: float | None = None  # that it is available, or is not
        self.reason = "not connected yet"  # why it is not
        self.heard: float | None = None  # its last reply
        self._random = random
        self._replica = Replica(new_epoch(self._random), nucleus, clusters, lifetime, mesh_limit, lease_time)
        self._epochs = Epochs()
        self._requests = Requests(nucleus, lifetime, lease_time, self._epochs)
        self._following = False  # the stream of changes
        self._generation = 0
        self._commands: list[Command] = []
        self._pending: OrderedDict[int, Pending] = OrderedDict()
        self._serial = 0
        self._numbered: deque[tuple[int, int]] = deque()  # (change number, serial): waiting for the replica
        self._claims: dict[PublicKey, PendingClaim] = {}
        self._taking: set[PublicKey] = set()  # edges of other Nuclei that are being moved here
        self._touched: set[PublicKey] = set()
        self._touch_interval = min(STORE_TOUCH_INTERVAL, lifetime / 10)
        self._touch_due = self._expire_due = 0.0
        self._offset = 0.0  # of the shared store's clock to ours
        self._refused: set[PublicKey] = set()  # while rejoining: claims that another one has better reasons for
        self._denials: dict[PublicKey, Denial | None] = {}  # on a branch; None: taken back
        self._notices: list[Notice] = []
        self._hints: list[Hint] = []
        self._loading = False
        self._asked: float | None = None  # since when it has owed a reply: to what is asked to connect, or to expire

    # --- owner ------------------------------------------------------------------------------------------------------

    @property
    def position(self) -> int | None:
        """Number of the last change that the replica has; None: changes are not to be read now."""
        return self._replica.position if self._following else None

    @property
    def generation(self) -> int:
        """Of the connection. Grows when it was given up here: the owner makes another one."""
        return self._generation

    @property
    def channel(self) -> str:
        """Where hints for this Nucleus are published."""
        return _channel(self.nucleus)

    def take_commands(self) -> list[Command]:
        """To be executed in this order, over one connection; each reply goes to ``on_reply``."""
        commands, self._commands = self._commands, []
        return commands

    def on_connected(self, run_id: str, now: float) -> None:
        """To the Redis with this run_id. Nothing but its commands may be executed on the connection."""
        self._drop_connection()
        self._asked = now
        epoch = digits(new_epoch(self._random))
        self._send("hello", (run_id.encode(), epoch), self._on_hello)

    def on_lost(self, reason: str, now: float) -> None:
        """It could not be connected, or does not answer any more. Idempotent."""
        self._drop_connection()
        if self.available:
            fork = self._replica.position
            epoch = new_epoch(self._random)
            self._epochs.branched(epoch, fork)
            self._replica.branch(epoch, now)
        self.reason = reason
        if self.available or self.since_when is None:
            self.available, self.since_when = False, now
            self._notices.append(Notice(False, reason))
        self._touched.clear()
        self._taking.clear()
        self._claims.clear()
        self._numbered.clear()
        pending, self._pending = self._pending, OrderedDict()
        for each in pending.values():
            if not each.over:
                each.alone(now)

    def on_reply(self, command: Command, reply: Reply, now: float) -> None:
        """What ``command`` gave. One of an earlier connection is ignored."""
        if command.generation != self._generation:
            return
        try:
            if word(reply) == "EPOCH":
                self.on_lost("its contents were replaced", now)
                return
            self.heard = now
            if self._asked is not None:
                self._asked = None if self.available else now
            if len(reply) > 1 and command.script not in ("hello", "hint"):
                self._offset = int(reply[1]) / 1000 - now
            if command.done is not None:
                command.done(reply, now)
        except (Unexpected, MalformedEntry, ValueError, IndexError, TypeError) as error:
            self.on_lost(f"it holds what is not ours ({error})"[:200], now)

    def on_entries(self, entries: Iterable[tuple[int, bytes, bytes]], now: float) -> None:
        """Changes of the stream, in order: (number, kind, value). Those that the replica has are ignored."""
        for number, kind, value in entries:
            if not self._following or number <= self._replica.position:
                continue
            if number != self._replica.position + 1:
                self._following = False  # what was between was thrown away before it was read here
                self._load()
                return
            try:
                self._replica.apply(number, kind, value, now, self._offset)
            except (Unexpected, MalformedEntry) as error:
                self.on_lost(f"it holds what is not ours ({error})"[:200], now)
                return
            self._settle(now)

    def on_hint(self, data: bytes) -> None:
        """Of ``channel``."""
        if len(data) == 64 and len(self._hints) < _HINTS_MAX:
            self._hints.append(Hint(PublicKey(data[:32]), PublicKey(data[32:])))

    # --- connecting -------------------------------------------------------------------------------------------------

    def _drop_connection(self) -> None:
        self._generation += 1
        self._following = self._loading = False
        self._asked = None
        self._commands.clear()

    def _on_hello(self, reply: Reply, now: float) -> None:
        epoch, lineage = int(reply[1]), {int(k): int(v) for k, v in pairs(reply[2])}
        self._epochs.met(epoch, lineage)
        self._refused.clear()
        self._send(*self._requests.load(), self._on_first_load)

    def _on_first_load(self, reply: Reply, now: float) -> None:
        snapshot = parse_snapshot(reply, self._offset)
        if not self.available:
            self._rejoin(snapshot, now)
        self._send(*self._requests.load(), self._on_load)

    def _rejoin(self, snapshot: Snapshot, now: float) -> None:
        for edge in unknown_there(self._replica, snapshot):
            self._claim_again(edge, now)
        for request in repeated(self._replica, snapshot, self._denials, self._requests, now):
            self._send(*request)
        self._denials.clear()

    def _claim_again(self, edge: Edge, now: float) -> None:
        heard = max(1, round((now - (edge.deadline - self.lifetime)) * 1000))

        def done(reply: Reply, now: float) -> None:
            if word(reply) != "OK":
                self._refused.add(edge.key)

        self._send(*self._requests.claim(edge, heard=heard), done)

    def _load(self) -> None:
        if not self._loading:
            self._loading = True
            self._send(*self._requests.load(), self._on_load)

    def _on_load(self, reply: Reply, now: float) -> None:
        snapshot = parse_snapshot(reply, self._offset)
        self._loading = False
        replica, was_available = self._replica, self.available
        ours = [] if was_available else replica.own()
        replica.reset(snapshot, self._epochs.shared, now)
        self._following = True
        if not was_available:
            self._asked = None
            self.available, self.since_when, self.reason = True, now, ""
            self._touch_due = now + self._touch_interval
            self._expire_due = now
            self._notices.append(Notice(True, "connected"))
            for edge in ours:  # registered while the rest was claimed again
                entry = snapshot.entries.get(edge.key)
                if edge.key not in self._refused and (entry is None or entry.edge.version < edge.version):
                    self._claim_again(edge, now)
        self._settle(now)

    # --- commands ---------------------------------------------------------------------------------------------------

    def _send(
        self, script: str, args: tuple[bytes | int, ...], done: Callable[[Reply, float], None] | None = None
    ) -> None:
        self._commands.append(Command(script, args, done, generation=self._generation))

    def _ask(
        self,
        script: str,
        args: tuple[bytes | int, ...],
        pending: Pending,
        decided: Callable[[Reply, float], Callable[[float], None] | None],
    ) -> None:
        """``decided`` gets the reply, and gives what to do when the replica has heard of it."""
        self._serial += 1
        serial = self._serial
        self._pending[serial] = pending

        def done(reply: Reply, now: float) -> None:
            then = decided(reply, now)
            if word(reply) != "OK":
                self._pending.pop(serial, None)
                pending.over = True
                if then is not None:
                    then(now)
                return
            pending.then = then
            self._numbered.append((int(reply[2]), serial))
            self._settle(now)

        self._send(script, args, done)

    def _settle(self, now: float) -> None:
        while self._numbered and self._numbered[0][0] <= self._replica.position:
            _, serial = self._numbered.popleft()
            pending = self._pending.pop(serial, None)
            if pending is not None and not pending.over:
                pending.over = True
                if pending.then is not None:
                    pending.then(now)

    # --- Store: what may collide ------------------------------------------------------------------------------------

    def claim(self, edge: Edge, deadline: float, now: float, done: Claimed) -> None:
        if not self.available:
            self._claim_alone(edge, deadline, done, now)
            return
        known = self._claims.get(edge.key)
        if known is not None and known.edge.record == edge.record:
            known.done = done  # asked again before it was answered
            return
        claim = PendingClaim(now, edge, done, self._claim_alone)
        self._claims[edge.key] = claim
        self._ask(*self._requests.claim(edge), claim, partial(self._claim_decided, claim))

    def _claim_decided(self, claim: PendingClaim, reply: Reply, now: float) -> Callable[[float], None]:
        conflict: Conflict | None = None
        if word(reply) == "TAKEN":
            address, holder = reply[2], PublicKey(reply[3])
            there = self._replica.get(holder)
            conflict = Conflict(address, holder, there.observed if there is not None else None)

        def then(now: float) -> None:
            if self._claims.get(claim.edge.key) is claim:
                del self._claims[claim.edge.key]
            claim.done(conflict, now)

        return then

    def _claim_alone(self, edge: Edge, deadline: float | None, done: Claimed, now: float) -> None:
        conflict = self._replica.conflict(edge, now)
        if conflict is None:
            edge.nucleus = self.nucleus
            self._replica.put(edge, now + self.lifetime if deadline is None else deadline, now)
        done(conflict, now)

    def lease(self, cluster: str, key: PublicKey, wanted: bytes, pool: Vip4Pool, now: float, done: Leased) -> None:
        alone = partial(self._lease_alone, cluster, key, wanted, pool, done)
        if not self.available:
            alone(now)
            return

        def decided(reply: Reply, now: float) -> Callable[[float], None]:
            lease = pool.lease(bytes(reply[3])) if word(reply) == "OK" else None
            return lambda now: done(lease, now)

        candidates = self._candidates(cluster, key, wanted, pool, now)
        self._ask(*self._requests.lease(cluster, key, candidates), Pending(now, alone), decided)

    def _candidates(self, cluster: str, key: PublicKey, wanted: bytes, pool: Vip4Pool, now: float) -> list[bytes]:
        """The one it holds, the one it wants, some that seem free, then those that lapsed first."""
        replica = self._replica
        held = replica.held_lease(cluster, key)
        chosen = [address for address in (held.address if held else b"", wanted) if address in pool]
        free: list[bytes] = []
        lapsed: list[tuple[float, bytes]] = []
        for address in pool.candidates(key):
            if replica.find(cluster, address) is not None:
                continue
            lease = replica.leased_to(cluster, address)
            if lease is None:
                free.append(address)
                if len(free) == STORE_CANDIDATES:
                    break
            elif lease.until <= now:
                lapsed.append((lease.until, address))
        return [*chosen, *free, *(address for _, address in sorted(lapsed)[:STORE_CANDIDATES])]

    def _lease_alone(
        self, cluster: str, key: PublicKey, wanted: bytes, pool: Vip4Pool, done: Leased, now: float
    ) -> None:
        self._replica.leased.add((cluster, key))
        self._replica.lease(cluster, key, wanted, pool, now, done)

    # --- Store: the rest of what is written -------------------------------------------------------------------------

    def move(self, edge: Edge, observed: PackedEndpoint, local: tuple[PackedEndpoint, ...], now: float) -> None:
        def alone(now: float) -> None:
            known = self._replica.get(edge.key)
            if known is not None and known.version == edge.version:
                self._replica.heard(known, now + self.lifetime)
                self._replica.move(known, observed, local, now)

        if not self.available:
            alone(now)
            return
        request = self._requests.move(edge, observed, local)
        self._ask(*request, Pending(now, alone), lambda reply, now: None)

    def touch(self, edge: Edge, deadline: float) -> None:
        if not self.available:
            self._replica.heard(edge, deadline)
            return
        if self._replica.is_own(edge):
            self._touched.add(edge.key)
            self._replica.touch(edge, deadline)
        elif edge.key not in self._taking:
            self._take_over(edge, deadline - self.lifetime)

    def _take_over(self, edge: Edge, now: float) -> None:
        """It is heard here now, not where it registered."""
        self._taking.add(edge.key)

        def alone(now: float) -> None:
            known = self._replica.get(edge.key)
            if known is not None:
                self._replica.heard(known, now + self.lifetime)

        def decided(reply: Reply, now: float) -> Callable[[float], None]:
            return lambda now: self._taking.discard(edge.key)

        self._ask(*self._requests.claim(edge, "m"), Pending(now, alone), decided)

    def remove(self, key: PublicKey, now: float) -> None:
        edge = self._replica.get(key)
        if not self.available:
            self._replica.take_out(key, now)
        elif edge is not None:
            alone = partial(self._replica.take_out, key)
            request = self._requests.remove(key, edge.version, b"")
            self._ask(*request, Pending(now, alone), lambda reply, now: None)

    def deny(self, denial: Denial, now: float) -> None:
        """Here at once; the others hear of it."""
        self._replica.deny(denial, now)
        self._tell_denial(denial.key, denial, now)

    def undeny(self, key: PublicKey, now: float) -> None:
        self._replica.undeny(key, now)
        self._tell_denial(key, None, now)

    def _tell_denial(self, key: PublicKey, denial: Denial | None, now: float) -> None:
        def alone(now: float) -> None:
            self._denials[key] = denial

        if self.available:
            request = self._requests.undeny(key) if denial is None else self._requests.deny(denial, now)
            self._ask(*request, Pending(now, alone), lambda reply, now: None)
        else:
            alone(now)

    def restore_leases(self, cluster: str, leases: Iterable[HeldLease], now: float) -> int:
        if self.available:
            fresh = [
                lease
                for lease in leases
                if lease.until > now
                and self._replica.held_lease(cluster, lease.key) is None
                and self._replica.leased_to(cluster, lease.address) is None
            ]
            for lease in fresh:
                self._send(*self._requests.restore_lease(cluster, lease, now))
            return len(fresh)
        taken = list(leases)
        self._replica.leased.update((cluster, lease.key) for lease in taken)
        return self._replica.restore_leases(cluster, taken, now)

    def hint(self, target: PublicKey, asker: PublicKey) -> None:
        edge = self._replica.get(target)
        if self.available and edge is not None and edge.nucleus and not self._replica.is_own(edge):
            self._send("hint", (_channel(edge.nucleus).encode(), target + asker))

    # --- Store: time ------------------------------------------------------------------------------------------------

    def handle_timer(self, now: float) -> None:
        if self._owed is not None and now >= self._owed + STORE_PATIENCE:
            self.on_lost("it does not answer", now)
        if not self.available:
            self._replica.handle_timer(now)
            return
        if self._touched and now >= self._touch_due:
            for request in self._requests.touch(self._touched):
                self._send(*request)
            self._touched = set()
            self._touch_due = now + self._touch_interval
        if now >= self._expire_due:
            self._expire_due = now + STORE_EXPIRE_INTERVAL
            self._asked = now if self._asked is None else self._asked
            self._send(*self._requests.expire())

    def next_timer(self) -> float | None:
        times = [self._owed + STORE_PATIENCE] if self._owed is not None else []
        if self.available:
            times.append(self._expire_due)
            if self._touched:
                times.append(self._touch_due)
        elif (due := self._replica.next_timer()) is not None:
            times.append(due)
        return min(times, default=None)

    @property
    def _owed(self) -> float | None:
        """Since when a reply, or the change that it announced, has not come."""
        oldest = next(iter(self._pending.values()), None)
        if oldest is None:
            return self._asked
        return oldest.since if self._asked is None else min(oldest.since, self._asked)

    # --- Store: what is read ----------------------------------------------------------------------------------------

    @property
    def epoch(self) -> int:
        return self._replica.epoch

    def since(self, cluster: str, epoch: int, seen: int) -> int | None:
        replica = self._replica
        if epoch == replica.epoch:
            return seen
        if not self._epochs.agree(epoch, seen):
            return None
        return seen if replica.fork is None else min(seen, replica.fork)

    def take_notices(self) -> list[Notice]:
        notices, self._notices = self._notices, []
        return notices

    def take_hints(self) -> list[Hint]:
        hints, self._hints = self._hints, []
        return hints


def _channel(nucleus: str) -> str:
    return f"omni:hints:{nucleus}"
