"""n2n as Debian has it (version 1.3): layer 2, Twofish, the only cipher of that version.

The supernode introduces the edges and then sees no frame: it runs on the lab's internet, and is asked to prove it.
"""

from __future__ import annotations

from pathlib import Path

from bench.peers import Peer
from bench.subjects import ADDRESS_A, ADDRESS_B
from tools.netlab import Host

SUPERNODE_PORT, PORT = 7654, 7655
OVERHEAD = 136  # as seen on the underlay: IPv4, UDP, its header with both sockets in it, Ethernet, padding


class N2n(Peer):
    name = "n2n"
    description = "n2n 1.3, Twofish (L2)"
    commands = (("edge", "n2n"), ("supernode", "n2n"))
    interface = "n2n0"
    mtu = 1500 - OVERHEAD  # 1,364

    def connect(self, directory: Path, a: Host, b: Host) -> None:
        internet = a.lab.internet
        self.start(internet, ["supernode", "-l", str(SUPERNODE_PORT)], "supernode")
        internet.wait_listening(SUPERNODE_PORT, "udp")
        supernode = f"198.18.255.254:{SUPERNODE_PORT}"
        for host, address in ((a, ADDRESS_A), (b, ADDRESS_B)):
            edge = ["edge", "-d", self.interface, "-a", address, "-s", "255.255.255.0", "-M", str(self.mtu)]
            self.start(host, [*edge, "-c", "bench", "-k", "not a secret", "-l", supernode, "-p", str(PORT)])


def create() -> N2n:
    return N2n()
