"""WireGuard in userspace (Go): layer 3, ChaCha20-Poly1305. The reference for what a TUN device allows.

The module of the kernel is not used: not every kernel has it, and it would be no peer in userspace.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from bench.peers import IPV4_UDP, Peer, run
from tools.netlab import Host, wait_for

PORT = 51820
OVERHEAD = IPV4_UDP + 16 + 16  # data header, tag; the padding to 16 stops at the MTU
MTU = 1500 - OVERHEAD  # 1,440


class WireguardGo(Peer):
    name = "wireguard-go"
    description = "WireGuard in userspace (L3)"
    commands: Sequence[tuple[str, str]] = (("wireguard-go", "wireguard-go"), ("wg", "wireguard-tools"))
    interface = "wg0"
    mtu = MTU

    def connect(self, directory: Path, a: Host, b: Host) -> None:
        self.connect_wireguard(directory, a, b, "wg0")

    def connect_wireguard(self, directory: Path, a: Host, b: Host, interface: str) -> None:
        private = {host: run(["wg", "genkey"]).strip() for host in (a, b)}
        for host, other in ((a, b), (b, a)):
            config = directory / f"{host.name}.conf"
            config.write_text(
                f"[Interface]\nPrivateKey = {private[host]}\nListenPort = {PORT}\n"
                f"[Peer]\nPublicKey = {run(['wg', 'pubkey'], stdin=private[other]).strip()}\n"
                f"Endpoint = {other.ipv4}:{PORT}\nAllowedIPs = 0.0.0.0/0\n"
            )
            self.start(host, ["env", "LOG_LEVEL=error", "wireguard-go", "--foreground", interface])
            socket = host.path(f"/run/wireguard/{interface}.sock")
            wait_for(socket.exists, 10.0, f"{socket}")
            host.run(["wg", "setconf", interface, str(config)])


def create() -> WireguardGo:
    return WireguardGo()
