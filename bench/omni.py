"""Two Ganglia that know each other (no Nucleus), over the lab's underlay: the base of every subject of our own."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from bench.subjects import Addresses
from omni_core.crypto.identity import key_text
from omni_core.errors import OmniError
from omni_core.io.admin import request
from omni_core.io.keyfile import create_identity
from tools.netlab import Host, Lab, LabError, LabProcess, wait_for

SESSION_TIMEOUT = 20.0  # s
FIRST_PORT = 51820


class OmniSubject:
    """``number`` sets interface, port and subnet of this subject apart from those of others: one each, from 0."""

    def __init__(self, name: str, engine: str, number: int, description: str) -> None:
        self.name = name
        self.description = description
        self._engine = engine
        self._interface = f"omni{number}"
        self._port = FIRST_PORT + number
        self._subnet = f"10.77.{number}"
        self._processes: list[LabProcess] = []

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
                interface=self._interface,
                key_file=str(directory / f"{host.name}.key"),
                cluster="bench",
                name=host.name,
                vip4=f"{self._subnet}.{own + 1}/24",
                listen_port=self._port,
                engine=self._engine,
                static_peers=[f"{keys[other]}@{peer.ipv4}:{self._port}"],
            )
            command = [sys.executable, "-m", "omni_core.cli", "up", "--config", str(config)]
            self._processes.append(host.start(command, name=f"{self.name}-up", cwd=Path(__file__).parents[1]))
        for host, process in zip(hosts, self._processes, strict=True):
            self._wait_for_session(host, process)
        return Addresses(f"{self._subnet}.1", f"{self._subnet}.2")

    def down(self) -> None:
        for process in self._processes:
            process.stop()
        self._processes.clear()

    def _write_config(self, path: Path, **values: object) -> Path:
        path.write_text("".join(f"{key} = {json.dumps(value)}\n" for key, value in values.items()))  # JSON is TOML here
        return path

    def _wait_for_session(self, host: Host, process: LabProcess) -> None:
        socket = str(host.path(f"/run/omni/{self._interface}.sock"))

        def is_up() -> bool:
            if not process.running:
                raise LabError(f"{self.name}: the Ganglion ended\n{process.log_text()}")
            try:
                status = request(socket, "status")
            except OmniError:
                return False  # not yet there
            return any(peer["state"] == "up" for peer in status["peers"])

        wait_for(is_up, SESSION_TIMEOUT, f"the session of {self.name}")
