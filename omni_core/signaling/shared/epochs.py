"""Which epochs the numbers of changes are of: the database's, older ones of it, and those of branches."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping

_BRANCHES_MAX = 64


class Epochs:
    """``shared``: of the database, as it was last seen; 0: never."""

    def __init__(self) -> None:
        self.shared = 0
        self._lineage: dict[int, int] = {}  # epoch -> number up to which the database's agrees with it
        self._branches: OrderedDict[int, int] = OrderedDict()  # epochs of ours -> where they began

    def met(self, epoch: int, lineage: Mapping[int, int]) -> None:
        """The database has this epoch and lineage now."""
        if epoch != self.shared:
            agreed = lineage.get(self.shared)
            self._branches = OrderedDict(
                (branch, min(fork, agreed)) for branch, fork in self._branches.items() if agreed is not None
            )
            self.shared = epoch
        self._lineage = dict(lineage)

    def branched(self, epoch: int, fork: int) -> None:
        """This Nucleus goes on alone after the change ``fork``."""
        self._branches[epoch] = fork
        while len(self._branches) > _BRANCHES_MAX:
            self._branches.popitem(last=False)

    def agree(self, epoch: int, seen: int) -> bool:
        """Whether the database's changes up to ``seen`` are those that ``epoch`` had."""
        if not self.shared:
            return False
        if epoch == self.shared:
            return True
        agreed = self._lineage.get(epoch, self._branches.get(epoch))
        # Else it may know edges that came on a branch which has ended, and that nobody knows any more.
        return agreed is not None and seen <= agreed
