"""synapse_rx on the interfaces of the underlay: which ones, in which XDP mode, and what is in the way.

Wanted are Ethernet interfaces with an address that a peer could send to. What comes in elsewhere (tunnels, PPP,
loopback, interfaces that have somebody else's XDP program) reaches the UDP socket, and the plane hands it to the
programs from there: slower, not lost. A program that is not ours is never replaced.

Blocking (netlink): call from a worker thread.
"""

from __future__ import annotations

import contextlib
import errno
import logging
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from omni_core.errors import SystemRefused
from omni_core.io.netlink import Link, Netlink, XdpMode
from omni_core.io.synapse import syscalls
from omni_core.io.synapse.syscalls import BpfProgram

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Attachment:
    """One underlay interface. ``reason``: why not the mode that was asked for; "" when it is."""

    interface: str
    mode: XdpMode | None  # None: its packets come by the socket
    reason: str


class Attachments:
    """Keeps ``program`` on every interface that it belongs on. One thread at a time."""

    def __init__(self, program: BpfProgram, modes: Mapping[str, str], generic: BpfProgram | None = None) -> None:
        """``modes``: interface -> auto, driver or generic; "" -> of all others. ``generic``: the program for that mode,
        where it is another one."""
        self._programs: dict[XdpMode, BpfProgram] = {"driver": program, "generic": generic or program}
        self._modes = modes
        self._known: dict[int, Attachment] = {}  # by index: an interface that vanished and returned has another one

    def update(self, wanted: Collection[int], netlink: Netlink) -> None:
        """Attach where it is missing. ``wanted``: indices of the interfaces with underlay addresses.

        Where it is attached it stays, also while the interface has lost its address.
        """
        links = {link.index: link for link in netlink.links()}
        ids = {program.id for program in self._programs.values()}
        for index in [index for index in self._known if index not in links]:
            del self._known[index]
        for index, link in links.items():
            ours = [mode for mode, number in link.xdp if number in ids]
            known = self._known.get(index)
            if ours:
                self._known[index] = Attachment(link.name, ours[0], known.reason if known else "")
            elif index in wanted:
                now = self._attach(link, netlink)
                if now != known:
                    _tell(now)
                self._known[index] = now
            else:
                self._known.pop(index, None)

    def status(self) -> list[Attachment]:
        return sorted(self._known.values(), key=lambda attachment: attachment.interface)

    def _attach(self, link: Link, netlink: Netlink) -> Attachment:
        if not link.ethernet:
            return Attachment(link.name, None, "no Ethernet interface")
        if link.xdp:
            return Attachment(link.name, None, _foreign(link))
        asked = self._modes.get(link.name, self._modes.get("", "auto"))
        tried: list[XdpMode] = [mode for mode in ("driver", "generic") if asked in ("auto", mode)]
        reasons: list[str] = []
        for mode in tried:
            try:
                netlink.attach_xdp(link, self._programs[mode].fd, mode)
            except SystemRefused as error:
                reasons.append(f"{mode} mode: {error.problem}")
            else:
                return Attachment(link.name, mode, "; ".join(reasons))
        return Attachment(link.name, None, "; ".join(reasons))


def detach_programs(ids: Collection[int], netlink: Netlink) -> None:
    """Take XDP programs with these ids off every interface. Raises SystemRefused."""
    for link in netlink.links():
        for mode, number in link.xdp:
            if number in ids:
                with contextlib.suppress(FileNotFoundError), syscalls.program_by_id(number) as program:
                    netlink.detach_xdp(link, program.fd, mode)


def _foreign(link: Link) -> str:
    numbers = [number for _, number in link.xdp]
    names = []
    for number in numbers:
        try:
            with syscalls.program_by_id(number) as program:
                names.append(f"{program.name or 'without a name'} (id {number})")
        except OSError as error:
            if error.errno != errno.ENOENT:
                names.append(f"id {number}")
    return f"another XDP program is there: {', '.join(names) or 'it has just gone'}"


def _tell(attachment: Attachment) -> None:
    if attachment.mode is None:
        logger.warning("%s runs without XDP, slower: %s", attachment.interface, attachment.reason)
    elif attachment.reason:
        logger.info("%s: XDP in %s mode (%s)", attachment.interface, attachment.mode, attachment.reason)
    else:
        logger.info("%s: XDP in %s mode", attachment.interface, attachment.mode)
