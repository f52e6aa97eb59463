"""Nebula: layer 3, AES-256-GCM (its default; processors have instructions for it). No lighthouse: fixed addresses."""

from __future__ import annotations

import json
from pathlib import Path

from bench.peers import IPV4_UDP, Peer, run
from bench.subjects import ADDRESS_A, ADDRESS_B, PREFIX_LENGTH
from tools.netlab import Host

PORT = 4242
OVERHEAD = IPV4_UDP + 16 + 16  # header, tag


class Nebula(Peer):
    name = "nebula"
    description = "Nebula, AES-256-GCM (L3)"
    commands = (("nebula", "nebula"), ("nebula-cert", "nebula"))
    interface = "nebula0"
    mtu = 1500 - OVERHEAD  # 1,440; its own default is 1,300, for links that carry less than 1,500

    def connect(self, directory: Path, a: Host, b: Host) -> None:
        ca, ca_key = directory / "ca.crt", directory / "ca.key"
        run(["nebula-cert", "ca", "-name", "bench", "-out-crt", ca, "-out-key", ca_key])
        for host, own, other, remote in ((a, ADDRESS_A, b, ADDRESS_B), (b, ADDRESS_B, a, ADDRESS_A)):
            certificate, key = directory / f"{host.name}.crt", directory / f"{host.name}.key"
            sign = ["nebula-cert", "sign", "-name", host.name, "-ip", f"{own}/{PREFIX_LENGTH}"]
            run([*sign, "-ca-crt", ca, "-ca-key", ca_key, "-out-crt", certificate, "-out-key", key])
            anyone = [{"port": "any", "proto": "any", "host": "any"}]
            settings = {
                "pki": {"ca": str(ca), "cert": str(certificate), "key": str(key)},
                "static_host_map": {remote: [f"{other.ipv4}:{PORT}"]},
                "lighthouse": {"am_lighthouse": False, "hosts": []},
                "listen": {"host": "0.0.0.0", "port": PORT},
                "tun": {"dev": self.interface, "mtu": self.mtu},
                "logging": {"level": "warning"},
                "firewall": {"outbound": anyone, "inbound": anyone},
            }
            config = directory / f"{host.name}.yml"
            config.write_text(json.dumps(settings))  # JSON is YAML
            self.start(host, ["nebula", "-config", config])


def create() -> Nebula:
    return Nebula()
