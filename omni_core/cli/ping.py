"""`omni ping`: round trips inside the session with a peer, as ping(8) shows them."""

from __future__ import annotations

import argparse
import ipaddress
import itertools
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from omni_core.cli import exit_codes, output
from omni_core.cli.options import add_ganglion_options, admin_socket, count, seconds
from omni_core.errors import ConfigError
from omni_core.io import admin
from omni_core.types import parse_mac

GRACE = 2.0  # s on top of the timeout of one ping for the Ganglion's answer


@dataclass
class Rounds:
    """What came back so far. Times in s."""

    sent: int = 0
    rtts: list[float] = field(default_factory=list)

    @property
    def loss(self) -> float:
        return 1 - len(self.rtts) / self.sent if self.sent else 0.0

    def as_dict(self) -> dict[str, float | int | None]:
        rtts: Sequence[float] = self.rtts
        return {
            "sent": self.sent,
            "received": len(rtts),
            "loss": self.loss,
            "rtt_min_s": min(rtts) if rtts else None,
            "rtt_avg_s": sum(rtts) / len(rtts) if rtts else None,
            "rtt_max_s": max(rtts) if rtts else None,
        }

    def summary(self) -> str:
        text = f"{self.sent} sent, {len(self.rtts)} received, {self.loss * 100:.0f} % loss"
        if not self.rtts:
            return text
        figures = (min(self.rtts), sum(self.rtts) / len(self.rtts), max(self.rtts))
        return f"{text}, round trip min/avg/max {'/'.join(f'{figure * 1e3:.3f}' for figure in figures)} ms"


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("address", metavar="VIP", help="VIP4, VIP6, MAC address or name of the peer")
    add_ganglion_options(parser)
    parser.add_argument("-c", "--count", type=count, metavar="N", help="stop after N (default: Ctrl-C)")
    parser.add_argument(
        "-i", "--interval", type=seconds, default=1.0, metavar="S", help="seconds between two (default 1)"
    )
    parser.add_argument(
        "-W", "--timeout", type=seconds, default=3.0, metavar="S", help="seconds to wait for each (default 3)"
    )
    parser.add_argument("--json", action="store_true", help="only the summary, machine-readable")


def run(arguments: argparse.Namespace) -> int:
    path = admin_socket(arguments)
    address = _address(arguments.address, path)
    rounds = Rounds()
    try:
        _ping(path, address, arguments, rounds)
    except KeyboardInterrupt:
        pass  # the usual way to end it
    if arguments.json:
        output.print_json({"address": address, **rounds.as_dict()})
    else:
        output.line(rounds.summary())
    return exit_codes.OK if rounds.rtts else exit_codes.FAILED


def _ping(path: str, address: str, arguments: argparse.Namespace, rounds: Rounds) -> None:
    numbers = itertools.count(1) if arguments.count is None else range(1, arguments.count + 1)
    for number in numbers:
        if number > 1:
            time.sleep(arguments.interval)
        answer = admin.request(path, "ping", arguments.timeout + GRACE, address=address, timeout=arguments.timeout)
        rounds.sent += 1
        if answer["rtt_s"] is not None:
            rounds.rtts.append(answer["rtt_s"])
        if not arguments.json:
            rtt = answer["rtt_s"]
            output.line(f"{address}: seq={number} {answer['text'] if rtt is None else f'time={rtt * 1e3:.3f} ms'}")


def _address(given: str, path: str) -> str:
    """An address as it is; a name as the VIP6 of the peer that has it. Raises ConfigError for anything else."""
    for parse in (ipaddress.ip_address, parse_mac):
        try:
            parse(given)
            return given
        except ValueError:
            pass
    peers = admin.request(path, "status")["peers"]
    found = [peer for peer in peers if peer["name"] == given]
    if len(found) == 1:
        return str(found[0]["vip6"])
    problem = (
        f"{len(found)} peers have the name {given!r}"
        if found
        else f"{given!r} is no address, and no peer has that name"
    )
    raise ConfigError("address", problem, "give a VIP or MAC address that omni peers shows")
