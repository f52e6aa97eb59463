"""Two robots that know each other by address (no Nucleus), over a link of their own kind; and streams between them."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from support.fleet import ENVIRONMENT, OMNI, REPO

from omni_core.crypto.identity import key_text
from omni_core.io.keyfile import create_identity
from tools.netlab import Host, Lab, LabProcess, wait_for

UP = 60.0  # s; both compile
PORT = 51820
STREAM_PORT = 7100
TOOLS = Path(__file__).parent


def compile_tool(name: str, directory: Path) -> Path:
    """One of the C programs beside this file."""
    program = directory / name
    if not program.exists():
        command = ["cc", "-O2", "-Wall", "-Wextra", "-Werror", str(TOOLS / f"{name}.c"), "-o", str(program)]
        subprocess.run(command, check=True)
    return program


class End:
    """One robot. ``vip4`` without prefix length."""

    def __init__(self, pair: TwoRobots, number: int, host: Host) -> None:
        self.host = host
        self.key_file = str(pair.files / f"{number}.key")
        identity = create_identity(self.key_file)
        self.key = key_text(identity.public_key)
        self.mac = identity.mac
        self.vip4, self.vip6 = f"10.77.0.{number}", str(identity.vip6)
        self.process: LabProcess | None = None
        self.starts = 0

    def omni(self, *words: str) -> str:
        return self.host.run([*OMNI, *words], cwd=REPO).stdout

    def status(self) -> dict:
        return json.loads(self.omni("status", "--json"))

    def ways(self) -> Counter[str]:
        """What was done with frames, and what was dropped, by name in lower case."""
        status = self.status()
        return Counter(status["ways"]) + Counter(status["drops"])


class TwoRobots:
    """``mtu``: of the underlay. ``relay``: (loss, overtaken) per mille, of a link that both know by its address."""

    def __init__(
        self, lab: Lab, *, ipv6: bool = False, mtu: int = 1500, relay: tuple[int, int] | None = None, seed: int = 0
    ) -> None:
        self.lab = lab
        self.files = lab.logs / "two-robots"
        self.files.mkdir(mode=0o700)
        self.command: Sequence[str] = OMNI
        self._ipv6 = ipv6
        self.ends = [End(self, number, lab.host(f"robot{number}", mtu=mtu)) for number in (1, 2)]
        self.relay: LabProcess | None = None
        self._relay_host: Host | None = None
        if relay is not None:
            self._relay_host = lab.host("relay", mtu=mtu)
            program = compile_tool("relay", self.files)
            words = [*(self._address(end.host) for end in self.ends), PORT, *relay, seed]
            self.relay = self._relay_host.start([str(program), str(PORT), *map(str, words)], name="relay")
            self.relay.wait_log("^ready$", 10)

    def _address(self, host: Host) -> str:
        found = host.ipv6 if self._ipv6 else host.ipv4
        assert found is not None
        return found

    def start(self, *settings: dict[str, object]) -> None:
        """Both, with their settings (one: the same for both), until they have a session."""
        for number in (0, 1):
            self.launch(number, settings[number % len(settings)])
        for end in self.ends:
            assert end.process is not None
            end.process.wait_log("omni0 is up", UP)
        self.connected()

    def launch(self, number: int, settings: dict[str, object]) -> None:
        end, other = self.ends[number], self.ends[1 - number]
        place = self._address(self._relay_host or other.host)
        values = {
            "key_file": end.key_file,
            "cluster": "pair",
            "name": end.host.name,
            "vip4": f"{end.vip4}/24",
            "listen_port": PORT,
            "static_peers": [f"{other.key}@{f'[{place}]' if ':' in place else place}:{PORT}"],
            **settings,
        }
        config = self.files / f"{end.host.name}.toml"
        config.write_text("".join(f"{key} = {json.dumps(value)}\n" for key, value in values.items()))
        end.starts += 1
        command = [*self.command, "up", "--config", str(config)]
        end.process = end.host.start(command, name=f"up{end.starts}", cwd=REPO, env=ENVIRONMENT)

    def connected(self) -> None:
        for end in self.ends:
            end.omni("wait", "--peers", "1", "--timeout", "30")

    def stop(self) -> None:
        for end in self.ends:
            if end.process is not None and end.process.running:
                end.process.stop(grace=15)


class Streams:
    """TCP streams from one host to another (stream.c), whose every byte is checked."""

    def __init__(self, source: Host, target: Host, directory: Path) -> None:
        self._source, self._target = source, target
        self._program = compile_tool("stream", directory)
        self._number = sum(1 for _ in target.lab.logs.glob(f"{target.name}-streams*"))
        self._receiver: LabProcess | None = None
        self._senders: list[LabProcess] = []

    def start(self, address: str, sizes: Sequence[int], seed: int, mode: str = "plain") -> None:
        """One stream for each size, all at once."""
        command = [str(self._program), "receive", str(STREAM_PORT + self._number), str(len(sizes))]
        self._receiver = self._target.start(command, name=f"streams{self._number}")
        self._receiver.wait_log("^ready$", 10)
        for index, size in enumerate(sizes):
            words = [address, STREAM_PORT + self._number, size, seed + index, mode]
            name = f"stream{self._number}-{index}"
            self._senders.append(self._source.start([str(self._program), "send", *map(str, words)], name=name))

    @property
    def running(self) -> bool:
        return any(sender.running for sender in self._senders)

    def finish(self, timeout: float) -> list[dict]:
        """What the senders say; every byte has arrived unchanged."""
        assert self._receiver is not None
        wait_for(lambda: not self.running, timeout, "the streams' end")
        status = self._receiver.wait(10)
        verdicts = [json.loads(line) for line in self._receiver.log_text().splitlines() if line.startswith("{")]
        assert status == 0 and all(verdict["verdict"] == "identical" for verdict in verdicts), verdicts
        assert len(verdicts) == len(self._senders)
        return [json.loads(sender.log_text()) for sender in self._senders]


def quick_rekey(seconds: float) -> list[str]:
    """A command that renews sessions after ``seconds``."""
    return [sys.executable, str(TOOLS / "quick_rekey.py"), str(seconds)]
