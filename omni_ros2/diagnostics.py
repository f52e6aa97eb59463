"""What /diagnostics says of a Ganglion or a Nucleus: status in, verdicts out. No ROS in here, no clock, no files.

The levels are those of diagnostic_msgs/DiagnosticStatus. A verdict is about now: while the node is not active, there is
nothing to judge in the tasks that need a session, and they are STALE.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from enum import IntEnum
from typing import NamedTuple

from omni_core.config.node_parameters import Limits
from omni_core.engines import nucleus_status
from omni_core.engines.status import GanglionStatus, NucleusLink, PeerStatus
from omni_core.types import KEY_SHOWN


class Level(IntEnum):
    OK = 0
    WARN = 1
    ERROR = 2
    STALE = 3


class Verdict(NamedTuple):
    name: str  # of the task
    level: Level
    message: str
    values: tuple[tuple[str, str], ...] = ()


STATE, IDENTITY, NUCLEUS, DROPS, DDS, CLOCK, STORE = (
    "state",
    "identity",
    "Nucleus link",
    "data plane drops",
    "DDS set-up",
    "clock offset",
    "store",
)


def state(lifecycle: str, trouble: str) -> Verdict:
    """``lifecycle``: of the node. ``trouble``: why the last transition or the run failed; "" when it did not."""
    if trouble:
        return Verdict(STATE, Level.ERROR, trouble, (("lifecycle state", lifecycle),))
    level = Level.OK if lifecycle == "active" else Level.WARN
    return Verdict(STATE, level, lifecycle, (("lifecycle state", lifecycle),))


def stale(names: Iterable[str], why: str) -> list[Verdict]:
    return [Verdict(name, Level.STALE, why) for name in names]


# --- of a Ganglion ---------------------------------------------------------------------------------------------------


def identity(status: GanglionStatus, interface: str, warning: str) -> Verdict:
    """``warning``: what the Ganglion warned of lately (a peer's key changed, two robots have one VIP)."""
    vips = [vip for vip in (status.vip4, status.vip6) if vip]
    values = (
        ("public key", status.public_key),
        ("cluster", status.cluster),
        ("VIP4", status.vip4),
        ("VIP6", status.vip6),
        ("MAC", status.mac),
        ("interface", interface),
        ("interface MTU", str(status.interface_mtu)),
    )
    if warning:
        return Verdict(IDENTITY, Level.WARN, warning, values)
    return Verdict(IDENTITY, Level.OK, f"{status.name}: {', '.join(vips)}", values)


def nucleus_link(status: GanglionStatus, since: float, limits: Limits) -> Verdict:
    """``since``: s in the present state."""
    values = (
        ("state", status.nucleus_state),
        ("for", f"{since:.0f} s"),
        ("observed endpoint", status.observed_endpoint),
        ("edges in the cluster", str(status.cluster_size)),
        *((f"Nucleus {link.endpoint or link.public_key[:KEY_SHOWN]}", _link_text(link)) for link in status.nuclei),
    )
    match status.nucleus_state:
        case "none":
            return Verdict(NUCLEUS, Level.OK, "no Nucleus is configured", values)
        case "registered" if _has_no_other(status) and since >= limits.nucleus_timeout:
            text = f"registered, but none of the other Nuclei ({len(status.nuclei) - 1}) answers"
            return Verdict(NUCLEUS, Level.WARN, text, values)
        case "registered":
            return Verdict(NUCLEUS, Level.OK, f"registered, {status.cluster_size} edges in the cluster", values)
        case "refused":
            return Verdict(NUCLEUS, Level.ERROR, f"refused: {status.nucleus_reason}", values)
    level = Level.ERROR if since >= limits.nucleus_timeout else Level.WARN
    return Verdict(NUCLEUS, level, status.nucleus_reason or f"not registered for {since:.0f} s", values)


def _has_no_other(status: GanglionStatus) -> bool:
    others = [link for link in status.nuclei if link.role != "active"]
    return bool(others) and all(link.state != "standby" for link in others)


def _link_text(link: NucleusLink) -> str:
    facts = [link.role, link.state, "draining" if link.draining else "", link.reason]
    return ", ".join(fact for fact in (*facts, _milliseconds(link.rtt_s)) if fact)


def peer_names(peers: Iterable[PeerStatus]) -> dict[str, str]:
    """Public key -> name of the task. The key tells those apart that have no name, or one name."""
    peers = list(peers)
    names = [peer.name for peer in peers]
    return {
        peer.public_key: f"peer {peer.name}"
        if peer.name and names.count(peer.name) == 1
        else f"peer {peer.name or 'unnamed'} {peer.public_key[:KEY_SHOWN]}"
        for peer in peers
    }


def peer(name: str, status: PeerStatus, limits: Limits) -> Verdict:
    values = (
        ("public key", status.public_key),
        ("state", status.state),
        ("VIP4", status.vip4),
        ("VIP6", status.vip6),
        ("endpoint", status.endpoint),
        ("round trip", _milliseconds(status.rtt_s)),
        ("loss", _percent(status.loss)),
        ("clock offset", _milliseconds(status.clock_offset_s)),
        ("last packet", "" if status.last_rx_age_s is None else f"{status.last_rx_age_s:.0f} s ago"),
        ("frames sent", str(status.tx_frames)),
        ("frames received", str(status.rx_frames)),
    )
    match status.state:
        case "idle":
            return Verdict(name, Level.OK, "idle: no session is wanted", values)
        case "handshaking":
            return Verdict(name, Level.WARN, "a handshake is under way", values)
        case "lost":
            return Verdict(name, Level.ERROR, "no session: it does not answer", values)
    troubles = [
        (_level(status.loss, limits.loss_warn, limits.loss_error), f"loss {_percent(status.loss)}"),
        (_level(status.rtt_s, limits.rtt_warn, limits.rtt_error), f"round trip {_milliseconds(status.rtt_s)}"),
    ]
    level = max(found for found, _ in troubles)
    if level is Level.OK:
        return Verdict(name, level, f"up, round trip {_milliseconds(status.rtt_s) or 'not measured'}", values)
    return Verdict(name, level, ", ".join(text for found, text in troubles if found is not Level.OK), values)


def clock_offset(names: Mapping[str, str], peers: Iterable[PeerStatus], limits: Limits) -> Verdict:
    """The offset counts as far as it is certain: less the bound of its error, half a round trip."""
    measured = [(peer, peer.clock_offset_s) for peer in peers if peer.state == "up"]
    known = [
        (abs(offset) - (peer.clock_error_s or 0.0), offset, peer) for peer, offset in measured if offset is not None
    ]
    if not known:
        return Verdict(CLOCK, Level.OK, "no peer has told its clock yet")
    values = tuple(
        (names[peer.public_key], f"{_milliseconds(offset)} +- {_milliseconds(peer.clock_error_s)}")
        for _, offset, peer in known
    )
    certain, offset, worst = max(known, key=lambda entry: entry[0])
    level = _level(certain, limits.clock_offset_warn, limits.clock_offset_error)
    if level is Level.OK:
        return Verdict(CLOCK, level, f"clocks of {len(known)} peers agree", values)
    said = f"the clock of {names[worst.public_key]} differs by {_milliseconds(offset)}"
    return Verdict(CLOCK, level, f"{said}. Fix: run chrony or ptp4l on both", values)


class Rates:
    """Of counters that only grow, over a window; they begin anew when an engine is switched."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, dict[str, int]]] = deque()  # (s, counters)

    def clear(self) -> None:
        self._seen.clear()

    def update(self, counts: Mapping[str, int], now: float, window: float) -> dict[str, float]:
        """Per second."""
        seen = self._seen
        if seen and any(counts.get(name, 0) < count for name, count in seen[-1][1].items()):
            seen.clear()
        seen.append((now, dict(counts)))
        while len(seen) > 2 and now - seen[1][0] >= window:
            seen.popleft()
        began, before = seen[0]
        took = now - began
        return {name: (count - before.get(name, 0)) / took for name, count in counts.items()} if took > 0 else {}


class DropRate(Rates):
    def judge(
        self, drops: Mapping[str, int], now: float, limits: Limits, extra: tuple[tuple[str, str], ...] = ()
    ) -> Verdict:
        """``extra``: values that are shown first."""
        rates = self.update(drops, now, limits.window)
        total = sum(rates.values())
        values = (
            *extra,
            ("dropped per second", f"{total:.1f}"),
            ("dropped", str(sum(drops.values()))),
            *((reason, str(count)) for reason, count in sorted(drops.items())),
        )
        level = _level(total, limits.drop_rate_warn, limits.drop_rate_error)
        most = sorted((reason for reason, rate in rates.items() if rate > 0), key=lambda reason: -rates[reason])
        shown = ", ".join(f"{reason} {rates[reason]:.1f}/s" for reason in most[:3])
        return Verdict(DROPS, level, f"{total:.1f} drops/s" + (f": {shown}" if shown else ""), values)


def data_plane_values(status: GanglionStatus) -> tuple[tuple[str, str], ...]:
    return (
        ("engine", status.engine),
        ("not a better one because", status.engine_reason),
        ("bulk lane", status.bulk_lane),
        ("frames sent", str(status.tx_frames)),
        ("frames received", str(status.rx_frames)),
    )


# --- of a Nucleus ----------------------------------------------------------------------------------------------------


def nucleus_identity(status: nucleus_status.NucleusStatus, port: int) -> Verdict:
    values = (
        ("public key", status.public_key),
        ("UDP port", str(port)),
        ("epoch", status.epoch),
        ("metrics and health", status.http),
        ("sessions", str(status.sessions)),
        ("edges that use this Nucleus", str(status.users)),
        ("keys shut out", str(status.denied)),
    )
    if status.draining:
        text = f"draining: edges are told to go to another Nucleus, {status.users} are still here"
        return Verdict(IDENTITY, Level.WARN, text, values)
    return Verdict(IDENTITY, Level.OK, f"UDP port {port}", values)


def store(status: nucleus_status.StoreStatus) -> Verdict:
    values = (
        ("kind", status.kind),
        ("location", status.location),
        ("available", str(status.available).lower()),
        ("for", f"{status.for_s:.0f} s"),
        ("last heard", "" if status.lag_s is None else f"{status.lag_s:.1f} s ago"),
    )
    if not status.available:
        text = f"the store is away, the Nucleus goes on from memory: {status.text or 'no answer'}"
        return Verdict(STORE, Level.WARN, text, values)
    return Verdict(STORE, Level.OK, status.kind, values)


def cluster(status: nucleus_status.ClusterStatus, refusals: float, limits: Limits) -> Verdict:
    """``refusals``: per second."""
    values = (
        ("edges", str(status.edges)),
        ("joins", str(status.joins)),
        ("moves", str(status.moves)),
        ("leaves", str(status.leaves)),
        ("departures", str(status.departures)),
        ("refusals", str(status.refusals)),
        ("refusals per second", f"{refusals:.1f}"),
        *((f"refused: {reason}", str(count)) for reason, count in sorted(status.refused.items())),
        ("leases", f"{status.leases} of {status.pool}" if status.pool else ""),
        ("open", str(status.open).lower()),
    )
    troubles = []
    if refusals > limits.refusal_rate_warn:
        troubles.append(f"{refusals:.1f} registrations/s are refused")
    if status.pool and status.leases > limits.pool_warn * status.pool:
        troubles.append(f"{status.leases} of the {status.pool} VIP4s of the pool are leased")
    level = Level.WARN if troubles else Level.OK
    return Verdict(f"cluster {status.name}", level, ", ".join([f"{status.edges} edges", *troubles]), values)


# --- texts -----------------------------------------------------------------------------------------------------------


def _level(value: float | None, warn: float, error: float) -> Level:
    """What is not known is no trouble."""
    if value is None or value <= warn:
        return Level.OK
    return Level.ERROR if value > error else Level.WARN


def _milliseconds(value: float | None) -> str:
    return "" if value is None else f"{1e3 * value:.1f} ms"


def _percent(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.1f} %"
