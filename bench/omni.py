"""Two Ganglia that know each other (no Nucleus), over the lab's underlay: the base of every subject of our own."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from bench.subjects import ADDRESS_A, ADDRESS_B, PREFIX_LENGTH, Addresses, Kind
from omni_core.crypto.identity import key_text
from omni_core.errors import OmniError
from omni_core.io.admin import request
from omni_core.io.keyfile import create_identity
from omni_core.version import version
from tools.netlab import Host, Lab, LabError, LabProcess, wait_for

SESSION_TIMEOUT = 30.0  # s; an engine in the kernel is compiled first
CLEAN_UP = 10.0  # s for the Ganglion to take its programs and devices away
PORT = 51820
INTERFACE = "omni0"
VIP4 = (ADDRESS_A, ADDRESS_B)


class OmniSubject:
    kind: Kind = "ours"

    def __init__(self, engine: str, description: str, name: str = "", **settings: object) -> None:
        """``name``: of the row, default the engine's. ``settings``: further keys of the configuration."""
        self.name = name or engine
        self.description = description
        self._settings = settings
        self._engine = engine
        self._attached = ""  # how the engine sits on the underlay
        self._processes: list[LabProcess] = []

    def missing_packages(self) -> Sequence[str]:
        return ()

    def version(self) -> str:
        return f"{version()}{self._attached}"

    def unavailable(self) -> str | None:
        return None

    def up(self, lab: Lab, a: Host, b: Host) -> Addresses:
        hosts = (a, b)
        directory = lab.logs / f"{self.name}.etc"
        directory.mkdir(mode=0o700)
        keys = [key_text(create_identity(str(directory / f"{host.name}.key")).public_key) for host in hosts]
        for own, other in ((0, 1), (1, 0)):
            host, peer = hosts[own], hosts[other]
            config = self._write_config(
                directory / f"{host.name}.toml",
                interface=INTERFACE,
                key_file=str(directory / f"{host.name}.key"),
                cluster="bench",
                name=host.name,
                vip4=f"{VIP4[own]}/{PREFIX_LENGTH}",
                listen_port=PORT,
                engine=self._engine,
                **self._settings,
                static_peers=[f"{keys[other]}@{peer.ipv4}:{PORT}"],
            )
            command = [sys.executable, "-m", "omni_core.cli", "up", "--config", str(config)]
            self._processes.append(host.start(command, name=f"{self.name}-up", cwd=Path(__file__).parents[1]))
        for host, process in zip(hosts, self._processes, strict=True):
            self._wait_for_session(host, process)
        return Addresses(*VIP4)

    def down(self) -> None:
        for process in self._processes:
            process.stop(CLEAN_UP)
        self._processes.clear()

    def _write_config(self, path: Path, **values: object) -> Path:
        path.write_text("".join(f"{key} = {json.dumps(value)}\n" for key, value in values.items()))  # JSON is TOML here
        return path

    def _wait_for_session(self, host: Host, process: LabProcess) -> None:
        socket = str(host.path(f"/run/omni/{INTERFACE}.sock"))

        def is_up() -> bool:
            if not process.running:
                raise LabError(f"{self.name}: the Ganglion ended\n{process.log_text()}")
            try:
                status = request(socket, "status")
            except OmniError:
                return False  # not yet there
            if status["engine"] != self._engine:
                raise LabError(f"{self.name}: the engine is {status['engine']}, not {self._engine}")
            modes = [f"{u['interface']}: XDP {u['xdp_mode']}" for u in status.get("underlay", []) if u.get("xdp_mode")]
            self._attached = f" ({', '.join(modes)})" if modes else ""
            return any(peer["state"] == "up" for peer in status["peers"])

        wait_for(is_up, SESSION_TIMEOUT, f"the session of {self.name}")
