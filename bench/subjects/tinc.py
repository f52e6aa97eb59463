"""tinc 1.0 in switch mode: layer 2. Of its ciphers AES-128-CBC, with HMAC-SHA256 cut to 4 bytes, its default."""

from __future__ import annotations

from pathlib import Path

from bench.peers import ETHERNET, IPV4_UDP, Peer, run
from tools.netlab import Host, wait_for

PORT = 655
PROBING = 40.0  # s; it sends a few probes a second, 30 times
SEQUENCE, MAC, BLOCK = 4, 4, 16
# What is encrypted is padded to whole blocks, with at least one byte.
ENCRYPTED = (1500 - IPV4_UDP - MAC) // BLOCK * BLOCK - 1


class Tinc(Peer):
    name = "tinc"
    description = "tinc 1.0 switch, AES-128-CBC (L2)"
    commands = (("tincd", "tinc"),)
    interface = "tinc0"
    mtu = ENCRYPTED - SEQUENCE - ETHERNET  # 1,437

    def connect(self, directory: Path, a: Host, b: Host) -> None:
        names = {a: "a", b: "b"}
        homes = {host: directory / name for host, name in names.items()}
        described = {}
        for host, name in names.items():
            home = homes[host]
            (home / "hosts").mkdir(parents=True, mode=0o700)
            (home / "tinc.conf").write_text(
                f"Name = {name}\nMode = switch\nDeviceType = tap\nInterface = {self.interface}\nAddressFamily = ipv4\n"
                + ("ConnectTo = b\n" if host is a else "")
            )
            own = home / "hosts" / name
            largest = self.mtu + ETHERNET
            own.write_text(f"Address = {host.ipv4} {PORT}\nCipher = aes-128-cbc\nDigest = sha256\nPMTU = {largest}\n")
            run(["tincd", "--config", home, "--generate-keys=2048"], stdin="")
            described[name] = own.read_text()
        for host in (b, a):
            for name, text in described.items():
                (homes[host] / "hosts" / name).write_text(text)
            pid = homes[host] / "pid"
            self.start(host, ["tincd", "--config", homes[host], "--pidfile", pid, "--no-detach", "--debug=0"])

    def wait_for_packets(self, host: Host, address: str) -> None:
        """Until it has found out that full packets may go by UDP: before, it sends them over its TCP connection."""
        super().wait_for_packets(host, address)
        pings = ["ping", "-c", "10", "-i", "0.01", "-s", str(self.mtu - IPV4_UDP), address]

        def takes_udp() -> bool:
            before = _tcp_segments(host)
            host.run(pings, check=False)
            return _tcp_segments(host) == before

        wait_for(takes_udp, PROBING, "tinc to send full packets by UDP")


def _tcp_segments(host: Host) -> tuple[int, int]:
    """Sent and received by the host."""
    names, values = (line.split() for line in host.run(["grep", "^Tcp:", "/proc/net/snmp"]).stdout.splitlines())
    return int(values[names.index("OutSegs")]), int(values[names.index("InSegs")])


def create() -> Tinc:
    return Tinc()
