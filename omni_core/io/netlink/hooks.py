"""Where programs and queues hang on an interface: XDP (if_link.h), TC with clsact (pkt_sched.h, pkt_cls.h)."""

from __future__ import annotations

import errno
import struct
from dataclasses import dataclass
from typing import Final

from omni_core.io.netlink.raw import (
    NLM_F_ACK,
    NLM_F_CREATE,
    NLM_F_EXCL,
    NLM_F_REPLACE,
    RawNetlink,
    nested,
    number,
    text,
)
from omni_core.io.netlink.records import Link, XdpMode
from omni_core.io.netlink.refusals import translated

_RTM_SETLINK = 19
_RTM_NEWQDISC, _RTM_NEWTFILTER = 36, 44

_IFLA_XDP, _IFLA_XDP_FD, _IFLA_XDP_FLAGS, _IFLA_XDP_EXPECTED_FD = 43, 1, 3, 8
_XDP_FLAGS_UPDATE_IF_NOEXIST = 1
_XDP_FLAGS_MODE: Final[dict[XdpMode, int]] = {"generic": 2, "driver": 4, "offload": 8}
_XDP_FLAGS_REPLACE = 16

_TCA_KIND, _TCA_OPTIONS = 1, 2
_TC_H_ROOT, _TC_H_CLSACT, _TC_H_INGRESS, _TC_H_EGRESS = 0xFFFFFFFF, 0xFFFFFFF1, 0xFFFFFFF2, 0xFFFFFFF3
_CLSACT_HANDLE = 0xFFFF0000
_TCA_BPF_FD, _TCA_BPF_NAME, _TCA_BPF_FLAGS = 6, 7, 8
_TCA_BPF_FLAG_ACT_DIRECT = 1
_TCA_FQ_CODEL_TARGET, _TCA_FQ_CODEL_LIMIT, _TCA_FQ_CODEL_INTERVAL = 1, 2, 3
_ETH_P_ALL = 0x0003
_MQ_HANDLE = 1 << 16
_PRIORITY, _HANDLE = 1, 1  # of our filter
_IFINFO = struct.Struct("=BxHiII")  # family, device type, index, flags, change
_TCMSG = struct.Struct("=BxxxiIII")  # family, index, handle, parent, info


@dataclass(frozen=True)
class QueueLimits:
    """Of fq_codel. A flow that waits longer than ``target`` for ``interval`` loses packets."""

    packets: int
    target: float  # s
    interval: float  # s


class Hooks:
    """What Netlink can do with programs and queues. Raises SystemRefused when the kernel says no."""

    def __init__(self) -> None:
        with translated("network", "open a netlink socket"):
            self._raw = RawNetlink()

    # --- XDP ----------------------------------------------------------------------------------------------------

    def attach_xdp(self, link: Link, program_fd: int, mode: XdpMode) -> None:
        """Only where no program is. A refusal says why in the kernel's or the driver's own words."""
        flags = _XDP_FLAGS_UPDATE_IF_NOEXIST | _XDP_FLAGS_MODE[mode]
        self._set_xdp(link, number(_IFLA_XDP_FD, program_fd) + number(_IFLA_XDP_FLAGS, flags))

    def detach_xdp(self, link: Link, program_fd: int, mode: XdpMode) -> None:
        """Only this program. No error when it, or the interface, is gone already."""
        flags = _XDP_FLAGS_REPLACE | _XDP_FLAGS_MODE[mode]
        wanted = number(_IFLA_XDP_FD, -1) + number(_IFLA_XDP_EXPECTED_FD, program_fd) + number(_IFLA_XDP_FLAGS, flags)
        # EEXIST: another program is there; EINVAL: none in this mode.
        self._set_xdp(link, wanted, ignore=(errno.ENODEV, errno.EEXIST, errno.EINVAL))

    def _set_xdp(self, link: Link, attributes: bytes, ignore: tuple[int, ...] = ()) -> None:
        body = _IFINFO.pack(0, 0, link.index, 0, 0) + nested(_IFLA_XDP, attributes)
        with translated(link.name, "change its XDP program", ignore):
            self._raw.request(_RTM_SETLINK, NLM_F_ACK, body)

    # --- TC -----------------------------------------------------------------------------------------------------

    def attach_tc_ingress(self, link: Link, program_fd: int, name: str) -> None:
        """A direct-action program for what arrives. In place of our own, not in front of another one.

        It goes with the interface.
        """
        self._attach_tc(link, program_fd, name, _TC_H_INGRESS)

    def attach_tc_egress(self, link: Link, program_fd: int, name: str) -> None:
        """The same for what is sent, in front of the queues."""
        self._attach_tc(link, program_fd, name, _TC_H_EGRESS)

    def _attach_tc(self, link: Link, program_fd: int, name: str, parent: int) -> None:
        with translated(link.name, "add the clsact qdisc", ignore=(errno.EEXIST,)):
            clsact = text(_TCA_KIND, "clsact")
            self._tc(_RTM_NEWQDISC, NLM_F_CREATE | NLM_F_EXCL, link, _CLSACT_HANDLE, _TC_H_CLSACT, 0, clsact)
        options = nested(
            _TCA_OPTIONS,
            number(_TCA_BPF_FD, program_fd),
            text(_TCA_BPF_NAME, name),
            number(_TCA_BPF_FLAGS, _TCA_BPF_FLAG_ACT_DIRECT),
        )
        protocol = int.from_bytes(_ETH_P_ALL.to_bytes(2, "big"), "little")
        with translated(link.name, f"attach the TC program {name}"):
            self._tc(
                _RTM_NEWTFILTER,
                NLM_F_CREATE | NLM_F_REPLACE,
                link,
                _HANDLE,
                parent,
                _PRIORITY << 16 | protocol,
                text(_TCA_KIND, "bpf") + options,
            )

    def set_fair_queues(self, link: Link, limits: QueueLimits, queues: int) -> None:
        """On each of the interface's queues to send: fq_codel, or what the kernel has as its default."""
        options = nested(
            _TCA_OPTIONS,
            number(_TCA_FQ_CODEL_LIMIT, limits.packets),
            number(_TCA_FQ_CODEL_TARGET, round(limits.target * 1e6)),
            number(_TCA_FQ_CODEL_INTERVAL, round(limits.interval * 1e6)),
        )
        self._set_qdisc(link, text(_TCA_KIND, "mq"), handle=_MQ_HANDLE)
        for queue in range(queues):
            if not self._set_qdisc(link, text(_TCA_KIND, "fq_codel") + options, parent=_MQ_HANDLE | queue + 1):
                return

    def _set_qdisc(self, link: Link, attributes: bytes, handle: int = 0, parent: int = _TC_H_ROOT) -> bool:
        """False, and nothing changed, where this kernel has no such discipline."""
        try:
            self._tc(_RTM_NEWQDISC, NLM_F_CREATE | NLM_F_REPLACE, link, handle, parent, 0, attributes)
        except OSError as error:
            if error.errno == errno.ENOENT:
                return False
            with translated(link.name, "set its queue"):
                raise
        return True

    def _tc(self, kind: int, flags: int, link: Link, handle: int, parent: int, info: int, attributes: bytes) -> None:
        self._raw.request(kind, flags | NLM_F_ACK, _TCMSG.pack(0, link.index, handle, parent, info) + attributes)
