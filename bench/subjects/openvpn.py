"""OpenVPN with a TAP device: layer 2, AES-128-GCM (TLS between two fixed certificates, no certificate authority)."""

from __future__ import annotations

from pathlib import Path

from bench.peers import ETHERNET, IPV4_UDP, Peer, run
from tools.netlab import Host

PORT = 1194
CIPHER = "AES-128-GCM"
OVERHEAD = IPV4_UDP + 4 + 4 + 16 + ETHERNET  # opcode and peer id, packet id, tag


class Openvpn(Peer):
    name = "openvpn"
    description = f"OpenVPN tap, {CIPHER} (L2)"
    commands = (("openvpn", "openvpn"), ("openssl", "openssl"))
    interface = "ovpn0"
    mtu = 1500 - OVERHEAD  # 1,434

    def connect(self, directory: Path, a: Host, b: Host) -> None:
        fingerprints = {host: _make_certificate(directory, host.name) for host in (a, b)}
        for host, other, role in ((b, a, ["--tls-server", "--dh", "none"]), (a, b, ["--tls-client"])):
            assert host.ipv4 is not None and other.ipv4 is not None
            own = ["--cert", str(directory / f"{host.name}.crt"), "--key", str(directory / f"{host.name}.key")]
            underlay = ["--proto", "udp4", "--local", host.ipv4, "--remote", other.ipv4, "--port", str(PORT)]
            device = ["--dev", self.interface, "--dev-type", "tap", "--tun-mtu", str(self.mtu), "--mssfix", "0"]
            tls = [*role, "--peer-fingerprint", fingerprints[other], "--data-ciphers", CIPHER, "--cipher", CIPHER]
            self.start(host, ["openvpn", *underlay, *device, *tls, *own, "--verb", "1"])


def _make_certificate(directory: Path, name: str) -> str:
    """Self-signed, P-256, for one day. Returns its SHA-256 fingerprint."""
    key, certificate = directory / f"{name}.key", directory / f"{name}.crt"
    kind = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "1", "-subj", f"/CN={name}"]
    run(["openssl", "req", "-x509", *kind, "-keyout", key, "-out", certificate])
    shown = run(["openssl", "x509", "-in", certificate, "-noout", "-fingerprint", "-sha256"])
    return shown.strip().partition("=")[2]


def create() -> Openvpn:
    return Openvpn()
