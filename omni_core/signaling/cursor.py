"""How far an edge has followed its cluster's change log (changes.py), and when it has to ask."""

from __future__ import annotations

from omni_core.signaling.messages import Delta


class ChangeCursor:
    """Deltas may be lost, repeated and overtaken: only one that continues where we are counts, so that everything told
    is applied in order, whatever the network did.
    """

    __slots__ = ("_skipped_from", "behind", "epoch", "partial", "seen")

    def __init__(self) -> None:
        self.restart(0, 0)

    def restart(self, epoch: int, since: int) -> None:
        """Another life of the Nucleus, or none (0, 0)."""
        self.epoch = epoch  # of the Nucleus that counts; 0: none
        self.seen = since  # last change number applied
        self.behind = False  # there is more after ``seen``: ask for it now
        # What we know is not what was so at ``seen``: an edge that changed again later was left out of a page before.
        self.partial = False
        self._skipped_from: int | None = None  # joins after this number were left out, the cluster being large

    def go_on(self, epoch: int, since: int) -> None:
        """Another life that knows what came before: what was left out then is still left out."""
        skipped = self._skipped_from
        self.restart(epoch, since)
        self._skipped_from = None if skipped is None else min(skipped, since)

    def start_over(self, *, small: bool) -> None:
        """Everyone is to be told again: now, or, in a cluster above the mesh limit, when it is small again."""
        if small:
            self.restart(self.epoch, 0)
            self.behind = True
        else:
            self._skipped_from = 0

    def take(self, delta: Delta) -> bool:
        """Whether to apply it."""
        if delta.since > self.seen:  # a gap: something between was lost
            self.behind = True
        if not delta.since <= self.seen <= delta.until:
            return False
        self.behind = delta.more
        if delta.until == self.seen:
            return False
        self.partial = delta.more
        before, self.seen = self.seen, delta.until
        if delta.omitted:
            if self._skipped_from is None:
                self._skipped_from = before
        elif self._skipped_from is not None:  # small again: now everyone is to be known
            self.seen, self._skipped_from = self._skipped_from, None
            self.behind = self.partial = True
        return True
