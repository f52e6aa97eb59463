"""fastd: layer 2. Method null+salsa2012+umac: of those that encrypt, none took less processor time here."""

from __future__ import annotations

from pathlib import Path

from bench.peers import ETHERNET, IPV4_UDP, Peer, run
from tools.netlab import Host

PORT = 10000
METHOD = "null+salsa2012+umac"
OVERHEAD = IPV4_UDP + 24 + ETHERNET  # 24: header of the method, tag with it


class Fastd(Peer):
    name = "fastd"
    description = f"fastd, {METHOD} (L2)"
    commands = (("fastd", "fastd"),)
    interface = "fastd0"
    mtu = 1500 - OVERHEAD  # 1,434

    def connect(self, directory: Path, a: Host, b: Host) -> None:
        keys = {host: _keys() for host in (a, b)}
        # Only one of them calls: when both do at once, this version may end up with two sessions that do not match.
        for host, other, remote in ((b, a, ""), (a, b, f" remote {b.ipv4}:{PORT};")):
            config = directory / f"{host.name}.conf"
            config.write_text(
                f'mode tap;\ninterface "{self.interface}";\nmtu {self.mtu};\nmethod "{METHOD}";\n'
                f'bind {host.ipv4}:{PORT};\nlog level warn;\nsecret "{keys[host][0]}";\n'
                f'peer "{other.name}" {{ key "{keys[other][1]}";{remote} }}\n'
            )
            self.start(host, ["fastd", "--config", config])


def _keys() -> tuple[str, str]:
    """Secret and public."""
    words = dict(line.split(": ") for line in run(["fastd", "--generate-key"]).splitlines() if ": " in line)
    return words["Secret"], words["Public"]


def create() -> Fastd:
    return Fastd()
