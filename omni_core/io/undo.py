"""Taking back, step by step, what the journal says was made. Blocking: call from a worker thread."""

from __future__ import annotations

import ipaddress
import logging
from dataclasses import asdict
from typing import Any

from omni_core.errors import OmniError
from omni_core.io.journal import (
    AddedAddress,
    AttachedPrograms,
    ChangedSetting,
    Journal,
    MadeLink,
    MadePort,
    MovedAddress,
    MovedRoute,
    NativeRuns,
    PinnedPrograms,
    StartedEngine,
    Step,
    SynapseRuns,
)
from omni_core.io.native.process import stop_left
from omni_core.io.netlink import Netlink, Route, SetAddress
from omni_core.io.overlay import alias_of
from omni_core.io.synapse.attachments import detach_programs
from omni_core.io.synapse.pins import remove_pins
from omni_core.io.sysctls import restore_setting
from omni_core.types import format_mac

logger = logging.getLogger(__name__)


def undo(journal: Journal, netlink: Netlink) -> None:
    """Reverse the journal's steps, last first. What is gone already is no error; what is refused is logged and kept."""
    refused: list[Step] = []
    for step in reversed(journal.steps):
        try:
            if isinstance(step, ChangedSetting):
                restore_setting(step, journal)
            else:
                _undo_step(step, alias_of(journal), netlink)
        except OmniError as error:
            logger.warning("could not undo %s: %s", step, error)
            refused.insert(0, step)
    journal.replace(refused)


def _undo_step(step: Step, alias: str, netlink: Netlink) -> None:
    if isinstance(step, MadeLink):
        link = netlink.find(step.name)
        if link is not None and (format_mac(link.mac) == step.mac or link.alias == alias):
            netlink.delete(link)
    elif isinstance(step, MadePort):
        port, bridge = netlink.find(step.name), netlink.find(step.bridge)
        if port is not None and bridge is not None and port.master == bridge.index:
            netlink.change(port, master=0)
        if port is not None and not step.was_up:
            netlink.change(port, up=False)
    elif isinstance(step, AddedAddress):
        device = netlink.find(step.device)
        if device is not None:
            netlink.delete_address(device, ipaddress.ip_interface(step.address))
    elif isinstance(step, MovedAddress):
        port = netlink.find(step.port)
        if port is not None:
            netlink.put_address(port, SetAddress(**_without_port(step)))
    elif isinstance(step, MovedRoute):
        port = netlink.find(step.port)
        if port is not None:
            netlink.add_route(port, Route(**_without_port(step)))
    elif isinstance(step, AttachedPrograms):
        detach_programs(step.ids, netlink)
    elif isinstance(step, PinnedPrograms):
        remove_pins(step.directory)
    elif isinstance(step, StartedEngine):
        stop_left(step.socket, step.pid, step.started)
    else:
        assert isinstance(step, (SynapseRuns, NativeRuns))  # a mark, nothing was made


def _without_port(step: MovedAddress | MovedRoute) -> dict[str, Any]:
    fields = asdict(step)
    del fields["port"]
    return fields
