"""The VIP4 of an edge that has one leased (``vip4: auto``). Part of the Ganglion engine.

What the Nucleus leases is put into a new record, for the Nucleus and the peers, and told to the driver, which puts it
on the interface. A lease is not believed blindly: a network that swallows addresses of the underlay is refused.

Nuclei that share nothing may lease different ones. What counts is the one that is used; on the way to another one its
lease is told to it in a record, and changes nothing here before it is the one that is used.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from ipaddress import IPv4Interface, ip_address

from omni_core.engines.ganglion_events import GanglionEvent, VipChanged, Warned
from omni_core.session.limits import TokenBucket
from omni_core.signaling.client_events import Vip4Leased, Vip4NotLeased
from omni_core.signaling.leases import Lease
from omni_core.types import Endpoint, is_host_ipv4, names_network

CHANGES = 4  # that are made at once; then one in
CHANGE_PAUSE = 60.0  # s: two Nuclei that disagree, or a hostile one, must not make the address flutter
PREFIX_MIN = 8  # bits; a shorter prefix would lead a good part of the internet into the overlay


class LeasedVip4:
    """``change(vip4, now)``: it is ours now; the record, peers and Nuclei are to follow, also if it is the same.
    ``prepare(vip4, now)``: it will be, at the Nucleus that we are about to change to. ``decline(reason, now)``: we do
    not go there.
    ``underlay()``: addresses that must stay reachable outside the overlay."""

    def __init__(
        self,
        current: IPv4Interface | None,
        *,
        change: Callable[[IPv4Interface | None, float], None],
        prepare: Callable[[IPv4Interface | None, float], None],
        decline: Callable[[str, float], None],
        underlay: Callable[[], Iterable[Endpoint]],
        emit: Callable[[GanglionEvent], None],
    ) -> None:
        self.current = current
        self._change = change
        self._prepare = prepare
        self._decline = decline
        self._prepared: IPv4Interface | None = None  # and has been counted
        self._underlay = underlay
        self._emit = emit
        self._changes = TokenBucket(1 / CHANGE_PAUSE, CHANGES, 0.0)
        self._told = ""  # the last reason why there is none

    def handle(self, event: Vip4Leased | Vip4NotLeased, now: float) -> None:
        if isinstance(event, Vip4Leased):
            self._leased(event, now)
            return
        if event.ahead:
            self._prepare(None, now)
        elif event.lost:
            lost, self.current = self.current, None
            self._emit(VipChanged(None, f"VIP {lost} is not ours any more: {event.reason}"))
            self._change(None, now)
        elif event.reason != self._told:
            self._told = event.reason
            keeps = f"; it keeps VIP {self.current}" if self.current else "; it has its VIP6 only"
            self._emit(Warned(f"{event.reason}{keeps}"))

    def _leased(self, event: Vip4Leased, now: float) -> None:
        lease = event.lease
        problem = self._problem(lease)
        if problem:
            self._refuse(event, f"the Nucleus leases VIP {lease}, {problem}: refused. Fix: its vip4_pools", now)
            return
        self._told = ""
        vip4 = IPv4Interface(str(lease))
        if vip4 not in (self.current, self._prepared) and not self._changes.take(now):
            self._refuse(event, f"VIP {vip4} is leased to us, after others shortly before: not taken yet", now)
            return
        if event.ahead:
            self._prepared = vip4
            self._prepare(vip4, now)
            return
        self._prepared = None
        if vip4 != self.current:
            before = f", before it was {self.current}" if self.current else ""
            self.current = vip4
            self._emit(VipChanged(vip4, f"VIP {vip4} is leased to us by the Nucleus{before}"))
        self._change(vip4, now)

    def _refuse(self, event: Vip4Leased, why: str, now: float) -> None:
        self._emit(Warned(why))
        if event.ahead:
            self._decline(why, now)

    def _problem(self, lease: Lease) -> str:
        """Why it cannot be; "" when it can."""
        if not PREFIX_MIN <= lease.prefix_length <= 32:
            return f"whose prefix is none of {PREFIX_MIN} to 32 bits"
        vip4 = IPv4Interface(str(lease))
        network = vip4.network
        if not is_host_ipv4(vip4.ip):
            return "which no host can have"
        if names_network(vip4):
            return f"the network or broadcast address of {network}"
        for endpoint in self._underlay():
            if ip_address(endpoint.host.partition("%")[0]) in network:
                return f"and {endpoint.host} of the underlay is in {network}"
        return ""
