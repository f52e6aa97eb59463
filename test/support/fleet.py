"""A Nucleus and robots in a lab, run by the command line as a user would."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from support import frame_tool

from omni_core.crypto.identity import Identity
from omni_core.crypto.token import JoinToken
from omni_core.io.keyfile import create_identity
from omni_core.types import Endpoint
from tools.netlab import Host, Lab, LabProcess

REPO = Path(__file__).resolve().parents[2]
OMNI = [sys.executable, "-m", "omni_core.cli"]
SECRET = "open sesame"
UP = 20.0  # s to be active on a busy machine


class Robot:
    """``vip4`` without prefix length. Its Ganglion runs between ``start`` and ``stop`` or ``kill``."""

    def __init__(self, fleet: Fleet, number: int, host: Host) -> None:
        self.fleet = fleet
        self.number = number
        self.host = host
        self.vip4 = f"10.77.0.{number}"
        self.identity: Identity = create_identity(str(fleet.files / f"{number}.key"))
        self.vip6 = str(self.identity.vip6)
        self.process: LabProcess | None = None
        self.starts = 0

    def start(self, **changes: object) -> LabProcess:
        process = self.launch(**changes)
        process.wait_log("omni0 is up", UP)
        return process

    def launch(self, **changes: object) -> LabProcess:
        """Without waiting: several robots compile at once."""
        values = {
            "key_file": str(self.fleet.files / f"{self.number}.key"),
            "token_file": self.fleet.token_file,
            "vip4": f"{self.vip4}/24",
            "name": self.host.name,
            **({"listen_address": [self.host.ipv6]} if self.fleet.ipv6 else {}),
            **changes,
        }
        config = self.fleet.write_config(f"{self.number}.toml", values)
        self.starts += 1
        command = [*self.fleet.command, "up", "--config", config]
        self.process = self.host.start(command, name=f"up{self.starts}", cwd=REPO, env=ENVIRONMENT)
        return self.process

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()

    def omni(self, *words: str, check: bool = True) -> str:
        return self.host.run([*OMNI, *words], cwd=REPO, check=check).stdout

    def status(self) -> dict:
        return json.loads(self.omni("status", "--json"))

    def wait(self, peers: int, timeout: float = 20.0) -> None:
        self.omni("wait", "--peers", str(peers), "--timeout", str(timeout))

    def ping(self, address: str, count: int = 1, *options: str, check: bool = True) -> str:
        command = ["ping", "-c", str(count), "-i", "0.05", "-W", "2", *options, address]
        return self.host.run(command, check=check).stdout

    def reaches(self, address: str) -> bool:
        return "1 received" in self.ping(address, 1, "-W", "1", check=False)


ENVIRONMENT = {"PYTHONPATH": str(REPO), "PYTHONUNBUFFERED": "1"}


class Fleet:
    """``ipv6``: the robots talk IPv6 only on the underlay. ``mtu``: of the underlay."""

    def __init__(self, lab: Lab, *, ipv6: bool = False, mtu: int = 1500) -> None:
        self.lab = lab
        self.ipv6 = ipv6
        self.mtu = mtu
        self.command = OMNI  # how a robot runs its Ganglion
        self.files = lab.logs / "etc"
        self.files.mkdir()
        self.nucleus_host = lab.host("nucleus", mtu=mtu)
        nucleus = create_identity(str(self.files / "nucleus.key"))
        self.nucleus_key = nucleus.public_key
        self.secret_file = self.write_private("secret", SECRET)
        self.token_file = self.write_token("token", secret=SECRET.encode())
        self.nucleus: LabProcess | None = None
        self.nucleus_starts = 0
        self.robots: list[Robot] = []

    def address(self, host: Host) -> str:
        """Where others find it on the underlay."""
        found = host.ipv6 if self.ipv6 else host.ipv4
        assert found is not None
        return found

    def write_private(self, name: str, text: str) -> str:
        path = self.files / name
        path.write_text(text)
        path.chmod(0o600)
        return str(path)

    def write_token(
        self, name: str, cluster: str = "fleet", secret: bytes | None = None, key: bytes | None = None
    ) -> str:
        nucleus = (Endpoint(self.address(self.nucleus_host), 51820),)
        return self.write_private(name, JoinToken(nucleus, cluster, (key or self.nucleus_key,), secret).format())

    def write_config(self, name: str, values: dict[str, object]) -> str:
        path = self.files / name
        path.write_text("".join(f"{key} = {json.dumps(value)}\n" for key, value in values.items()))
        return str(path)

    def start_nucleus(self, **changes: object) -> None:
        values = {
            "key_file": str(self.files / "nucleus.key"),
            "clusters": ["fleet"],
            "secret_files": [f"fleet={self.secret_file}"],
            **changes,
        }
        config = self.write_config("nucleus.toml", values)
        self.nucleus_starts += 1
        self.nucleus = self.nucleus_host.start(
            [*OMNI, "nucleus", "--config", config], name=f"nucleus{self.nucleus_starts}", cwd=REPO, env=ENVIRONMENT
        )
        self.nucleus.wait_log("Nucleus on UDP port", UP)

    def robot(self, name: str | None = None) -> Robot:
        """A robot on a host of its own, not started."""
        number = len(self.robots) + 1
        self.robots.append(Robot(self, number, self.lab.host(name or f"robot{number}", mtu=self.mtu)))
        return self.robots[-1]

    def connected(self) -> None:
        """Until every running robot has a session with every other."""
        running = [robot for robot in self.robots if robot.process is not None and robot.process.running]
        for robot in running:
            robot.wait(len(running) - 1)


def carry_frames(source: Host, target: Host, frames: list[bytes], at: str = "omni0", to: str = "omni0") -> list[bytes]:
    """Send raw frames on one host and return what arrives on another. Their source MACs must begin with MARK."""
    program = Path(frame_tool.__file__)
    number = sum(1 for _ in target.lab.logs.glob(f"{target.name}-receive*"))
    receiver = target.start([sys.executable, program, "receive", to, str(len(frames))], name=f"receive{number}")
    receiver.wait_log("^ready$", 10)
    hexadecimal = source.lab.logs / f"{source.name}-frames"
    hexadecimal.write_text("".join(f"{frame.hex()}\n" for frame in frames))
    source.run(["sh", "-c", f"exec {sys.executable} {program} send {at} < {hexadecimal}"])
    receiver.wait(20)
    return [bytes.fromhex(line) for line in receiver.log_text().splitlines() if line != "ready" and " " not in line]


def conversations(frames: list[bytes]) -> dict[bytes, list[bytes]]:
    """Frames by addresses, VLAN and type, in their order. Frames of different ones may overtake each other: they are in
    different queues of omni0, as they may be on different links of an aggregation (IEEE 802.1AX)."""
    found: dict[bytes, list[bytes]] = {}
    for each in frames:
        found.setdefault(each[: 18 if each[12:14] in (b"\x81\x00", b"\x88\xa8") else 14], []).append(each)
    return found
