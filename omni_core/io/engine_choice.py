"""Which engine moves the frames here: the one in the kernel where this machine allows it, else the one in python."""

from __future__ import annotations

import logging
from typing import NamedTuple

from omni_core.errors import ConfigError, OmniError, SystemRefused
from omni_core.io.journal import Journal
from omni_core.io.local_port import LocalPort, PortRequest, PythonPort
from omni_core.io.netlink import Netlink
from omni_core.io.synapse.kernel_port import KernelPort, what_runs
from omni_core.io.undo import undo

logger = logging.getLogger(__name__)


class Opened(NamedTuple):
    port: LocalPort
    reason: str  # why not the kernel; "" when it is, or nobody asked for it
    adopted: bool


def may_adopt(engine: str, journal: Journal) -> bool:
    """Whether an earlier process left an engine running that ``open_port`` could adopt."""
    return engine != "python" and what_runs(journal) is not None


def open_port(request: PortRequest, netlink: Netlink) -> Opened:
    """Adopt what runs, or make it. Raises ConfigError or SystemRefused; then the caller undoes the journal.

    Blocking: call it from a worker thread.
    """
    wanted = request.config.engine
    if may_adopt(wanted, request.journal):
        try:
            return Opened(KernelPort.adopt(request, netlink), "", True)
        except OmniError as error:
            logger.warning("what runs in the kernel is made anew: %s", _sentence(error))
    if request.journal.steps:
        undo(request.journal, netlink)
    if wanted == "python":
        return Opened(PythonPort.make(request, netlink), "", False)
    try:
        return Opened(KernelPort.make(request, netlink), "", False)
    except OmniError as error:
        if wanted == "kernel":
            raise
        undo(request.journal, netlink)
        reason = _sentence(error)
    return Opened(PythonPort.make(request, netlink), reason, False)


def _sentence(error: OmniError) -> str:
    if isinstance(error, SystemRefused):
        return f"{error.what}: {error.problem}"
    return error.problem if isinstance(error, ConfigError) else str(error)
