"""Which MAC address lives where."""

from omni_core.fdb.table import Entry, Fdb, FdbRow

__all__ = ["Entry", "Fdb", "FdbRow"]
