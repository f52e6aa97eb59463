"""Ethernet the way it is put together from parts today: the kernel's VXLAN over WireGuard in userspace."""

from __future__ import annotations

from pathlib import Path

from bench.peers import ETHERNET, IPV4_UDP
from bench.subjects import PREFIX_LENGTH, wireguard_go
from tools.netlab import Host

VXLAN_HEADER = 8
VXLAN_PORT = 4789
WG_A, WG_B = "10.78.0.1", "10.78.0.2"


class VxlanWg(wireguard_go.WireguardGo):
    name = "vxlan-wg"
    description = "VXLAN over WireGuard in userspace (L2)"
    commands = (*wireguard_go.WireguardGo.commands, ("ip", "iproute2"))
    interface = "vx0"
    mtu = wireguard_go.MTU - IPV4_UDP - VXLAN_HEADER - ETHERNET  # 1,390

    def connect(self, directory: Path, a: Host, b: Host) -> None:
        self.connect_wireguard(directory, a, b, "wg0")
        for host, own, other in ((a, WG_A, WG_B), (b, WG_B, WG_A)):
            host.ip(f"address add {own}/{PREFIX_LENGTH} dev wg0")
            host.ip(f"link set wg0 mtu {wireguard_go.MTU} up")
            host.ip(f"link add vx0 type vxlan id 77 local {own} remote {other} dstport {VXLAN_PORT} dev wg0")


def create() -> VxlanWg:
    return VxlanWg()
