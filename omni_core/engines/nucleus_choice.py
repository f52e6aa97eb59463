"""Which of several Nuclei an edge uses. Part of the Ganglion engine.

The order of the list is the preference; one Nucleus is used, another one is kept warm.

    not registered   the preferred one alone for PREFERENCE_PATIENCE, then all; the first that is ready gets REGISTER
    registered       left when it stops answering, refuses or drains, and another one is ready; an earlier one is used
                     again after it has been faultless for a while, which grows each time that it fails soon

A change is made before the break: the new registration stands before the old Nucleus hears, by a STANDBY heartbeat,
that it is not used any more.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from omni_core.constants import (
    DRAIN_JITTER,
    FAILBACK_AFTER,
    FAILBACK_JITTER,
    FAILBACK_MAX,
    FAILBACK_PROBE,
    NUCLEUS_LOST_AFTER,
    PREFERENCE_PATIENCE,
    PREFERENCE_SETTLE,
    REFUSED_RETRY,
    REQUEST_RETRY,
    STANDBY_DELAY,
    STANDBY_INTERVAL,
)
from omni_core.session.sessions import Sessions
from omni_core.signaling.client import NucleusClient
from omni_core.signaling.client_events import ClientEvent, NucleusLost, Refused, Registered
from omni_core.types import Endpoint

_FRESH = 2 * REQUEST_RETRY  # s; one that was heard since then is there
_PROBES_AT_LEAST = 10  # that an earlier Nucleus answers before it is used again


class Nucleus:
    """One of them, and what it did to us."""

    def __init__(self, client: NucleusClient, sessions: Sessions, place: Endpoint | None) -> None:
        self.client = client
        self.sessions = sessions
        self.place = place  # the first that its name resolves to
        self.failures = 0  # in a row, each soon after it was used again
        self.hold = 0.0  # s that it has to be faultless before it is used again
        self.refuses = False  # it did when it was asked last
        self.refused_until = 0.0

    @property
    def at(self) -> str:
        return str(self.client.endpoint or self.place or "a name without an address")

    @property
    def faultless_since(self) -> float | None:
        return self.client.health.faultless_since

    @property
    def draining(self) -> bool:
        return self.client.health.draining

    @property
    def ready(self) -> bool:
        return self.client.ready and not self.draining


class NucleusChoice:
    """``decide`` after whatever happened, and when ``next_timer`` is due. Only what a user cares about is emitted:
    where we are registered and why there, or why nowhere.
    """

    def __init__(
        self, nuclei: Sequence[Nucleus], *, fraction: Callable[[], float], emit: Callable[[ClientEvent], None]
    ) -> None:
        self._all = nuclei
        self._fraction = fraction
        self._emit = emit
        self.used = nuclei[0]  # registered there, or on the way to it
        self.coming: Nucleus | None = None  # REGISTER is on its way there; when it is answered, it is the one used
        self.since: float | None = None  # when we registered with the one that is used; None: not now
        self._why = ""  # there is one coming
        self._alone_until = 0.0  # others are not tried before
        self._warm_at = 0.0  # others are kept warm from then on
        self._nudged_at: float | None = None  # when another one answered, and the one that is used was tried as well
        self._drains_at: float | None = None  # when the one that is used is left because it drains
        self._untold: NucleusLost | None = None  # another one may stand in, then it is no news
        self.hopeful = False  # refused, but not by all that may answer
        self._hope_until = 0.0
        self._refusal: Refused | None = None  # untold while hopeful
        self._told_refusal = ""
        self._look_at: float | None = None
        for each in nuclei:
            self._draw_hold(each)

    # --- what happened --------------------------------------------------------------------------------------------

    def start(self, now: float) -> None:
        self._alone_until = now + PREFERENCE_PATIENCE
        self.used.client.start(now)

    def stop(self) -> None:
        self.coming = self.since = self._untold = self._refusal = self._drains_at = self._look_at = None
        self.hopeful, self._told_refusal = False, ""

    def registered(self, each: Nucleus, event: Registered, now: float) -> None:
        why = ""
        if each is not self.used:
            left, why, self.used = self.used, self._why, each
            each.client.ask_for(left.client.take_queries(), now)
            left.client.contact.warm(now)
        elif self.coming is not None:  # it is back after all
            self.coming.client.contact.warm(now)
        self.coming = self._untold = self._refusal = self._drains_at = None
        self.hopeful, self._told_refusal = False, ""
        each.refuses = False
        self.since = now
        self._warm_at = now + STANDBY_DELAY * self._fraction()
        at = each.client.endpoint if len(self._all) > 1 else None
        self._emit(Registered(event.observed, event.cluster_size, at, why))

    def refused(self, each: Nucleus, event: Refused, now: float) -> None:
        each.refuses, each.refused_until = True, now + REFUSED_RETRY
        if each is self.coming:
            self._did_not_come(each, now)
        elif each is self.used:
            self.since, self._alone_until = None, now
            self._why = f"the one at {each.at} refused: {event.reason}"
            if event.reason != self._told_refusal:
                self._refusal = event
                if not self._told_refusal:
                    self._hope_until = now + NUCLEUS_LOST_AFTER

    def lost(self, each: Nucleus, event: NucleusLost, now: float) -> None:
        if each is self.coming:
            self._did_not_come(each, now)
        elif each is self.used:
            self._why = f"the one at {each.at} does not answer"
            self._fail(each, now)
            self.since, self._alone_until = None, now
            self._untold = event

    def _did_not_come(self, each: Nucleus, now: float) -> None:
        self.coming = None
        self._fail(each, now)
        each.client.contact.warm(now)

    def _fail(self, each: Nucleus, now: float) -> None:
        served = 0.0 if self.since is None or each is not self.used else now - self.since
        each.failures = 0 if served >= FAILBACK_MAX else each.failures + 1
        self._draw_hold(each)

    def _draw_hold(self, each: Nucleus) -> None:
        hold = min(FAILBACK_AFTER * 2.0 ** max(0, each.failures - 1), FAILBACK_MAX)
        each.hold = hold + FAILBACK_JITTER * self._fraction()

    # --- what to do -----------------------------------------------------------------------------------------------

    def next_timer(self) -> float | None:
        return self._look_at

    def decide(self, now: float) -> None:
        """Idempotent at one moment."""
        self._look_at = None
        if len(self._all) > 1 and self.used.client.state != "idle":
            if self.since is not None:
                self._keep_warm(now)
                self._find_better(now)
            else:
                self._search(now)
        if self._refusal is not None:
            untried = any(not each.refuses for each in self._others())
            self.hopeful = untried and not self._is_due(self._hope_until, now)
            if not self.hopeful:
                event, self._refusal = self._refusal, None
                self._told_refusal = event.reason
                self._emit(event)
        if self._untold is not None and self.coming is None:
            lost, self._untold = self._untold, None
            others = [
                f"the one at {each.at} refused: {each.client.health.reason}"
                if each.refuses
                else f"the one at {each.at} does not answer"
                for each in self._others()
            ]
            self._emit(NucleusLost("; ".join([lost.reason, *others])))

    def _others(self) -> list[Nucleus]:
        return [each for each in self._all if each is not self.used]

    def _is_due(self, when: float, now: float) -> bool:
        if when > now:
            self._look_at = when if self._look_at is None else min(self._look_at, when)
        return when <= now

    def _go_to(self, each: Nucleus, why: str, now: float) -> None:
        self.coming, self._why = each, why
        each.client.start(now)

    def _search(self, now: float) -> None:
        """Not registered: whoever is ready."""
        if not self._is_due(self._alone_until, now):
            return
        for each in self._others():
            each.client.contact.hurry(now)
            if each is not self.coming:
                each.client.contact.warm(now)
        if self.coming is not None:
            return
        before = True
        for each in self._all:
            if each is self.used:
                before = False
            elif each.client.ready and self._is_due(each.refused_until, now):
                assert each.faultless_since is not None
                # All are back at one moment after an outage of our own: then nothing is to change.
                if before or self._is_due(each.faultless_since + PREFERENCE_SETTLE, now):
                    self._go_to(each, self._why, now)
                    return
                if self._nudged_at != each.faultless_since:
                    self._nudged_at = each.faultless_since
                    self.used.client.contact.nudge(now)

    def _keep_warm(self, now: float) -> None:
        """Registered: the earlier ones, and the first of the later ones that answers, while no earlier one does."""
        if not self._is_due(self._warm_at, now):
            return
        earlier, covered = True, False
        for each in self._all:
            if each is self.used:
                earlier = False
                each.client.replaceable = any(other.ready for other in self._others())
                continue
            if each is self.coming:
                continue
            each.client.contact.relax(now)
            if earlier:
                probe = max(each.hold / _PROBES_AT_LEAST, FAILBACK_PROBE)
                each.client.contact.warm(now, min(probe, STANDBY_INTERVAL))
                covered = covered or self._is_steady(each, now)
            elif not covered or self.used.draining:
                each.client.contact.warm(now, STANDBY_INTERVAL)
                covered = covered or each.ready
            else:
                each.client.contact.cool(now)

    def _is_steady(self, each: Nucleus, now: float) -> bool:
        since = each.faultless_since
        return each.ready and since is not None and self._is_due(since + FAILBACK_AFTER, now)

    def _find_better(self, now: float) -> None:
        used = self.used
        if used.client.doubtful:
            for each in self._others():
                heard = each.client.health.last_answer
                if heard is None or now - heard > _FRESH:
                    each.client.ask(now)  # so that we know when the other is given up
        if self.coming is not None:
            return
        if used.draining:
            self._leave_draining(now)
            return
        self._drains_at = None
        for each in self._all:
            if each is used:
                return
            since = each.faultless_since
            if each.ready and since is not None and self._is_due(max(since + each.hold, each.refused_until), now):
                self._go_to(each, f"it is preferred to the one at {used.at}, and answers again", now)
                return

    def _leave_draining(self, now: float) -> None:
        """Only to one that is there: a Nucleus that drains still serves."""
        other = next((each for each in self._others() if each.ready and each.refused_until <= now), None)
        if other is None:
            self._drains_at = None
            return
        if self._drains_at is None:
            self._drains_at = now + DRAIN_JITTER * self._fraction()
        if self._is_due(self._drains_at, now):
            self._go_to(other, f"the one at {self.used.at} is about to stop", now)
