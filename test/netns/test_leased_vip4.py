"""Robots with vip4: auto, and the administrator of their Nucleus: real processes in namespaces, with each engine.

server: Nucleus, which has a pool and an allow list      a, b: robots
"""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.command_line import OMNI, REPO, Outcome

from omni_core.crypto.identity import Identity, encode_key_file, key_text
from omni_core.crypto.token import JoinToken
from omni_core.types import Endpoint
from tools.netlab import Host, Lab, LabProcess, unavailable, wait_for

pytestmark = [pytest.mark.netns, pytest.mark.skipif(unavailable() is not None, reason=str(unavailable()))]

NUCLEUS = Identity.from_seed(bytes(range(32)))
ROBOTS = {name: Identity.from_seed(name.encode() * 32) for name in "ab"}
WAIT = "20"  # s; far above what anything here takes


class Cluster:
    def __init__(self, lab: Lab, directory: Path) -> None:
        self.directory = directory
        self.server, self.a, self.b = lab.host("server"), lab.host("a"), lab.host("b")
        self.write("nucleus.key", encode_key_file(NUCLEUS))
        for name, identity in ROBOTS.items():
            self.write(f"{name}.key", encode_key_file(identity))
        assert self.server.ipv4 is not None
        token = JoinToken((Endpoint(self.server.ipv4, 51820),), "wh", (NUCLEUS.public_key,), b"correct-horse-battery")
        self.write("token", token.format() + "\n")
        self.write("secret", "correct-horse-battery\n")
        self.allow()
        self.nucleus = self.start_nucleus()

    def start_nucleus(self) -> LabProcess:
        nucleus = self.server.start(
            [
                *OMNI, "nucleus", "--key-file", self.path("nucleus.key"), "--clusters", "wh",
                "--secret-files", f"wh={self.path('secret')}", "--allow-files", f"wh={self.path('allow')}",
                "--vip4-pools", "wh=10.77.0.100-10.77.0.199/24", "--heartbeat-interval", "2", "--drain-time", "0",
            ],
            name="nucleus", cwd=REPO,
        )  # fmt: skip
        nucleus.wait_log("Nucleus on UDP port 51820", timeout=20)
        return nucleus

    def path(self, name: str) -> str:
        return str(self.directory / name)

    def write(self, name: str, text: str) -> None:
        path = self.directory / name
        path.write_text(text)
        path.chmod(0o600)

    def allow(self, **rest: str) -> None:
        lines = [f"{key_text(identity.public_key)} {rest.get(name, '')}" for name, identity in ROBOTS.items()]
        self.write("allow", "\n".join(["# robots", *lines]) + "\n")

    def up(self, host: Host, engine: str) -> LabProcess:
        words = ["--key-file", self.path(f"{host.name}.key"), "--token-file", self.path("token")]
        robot = host.start(
            [*OMNI, "up", *words, "--vip4", "auto", "--name", f"robot-{host.name}", "--engine", engine],
            name=f"up-{engine}", cwd=REPO,
        )  # fmt: skip
        outcome = self.omni(host, "wait", "--vip4", "--timeout", WAIT)
        assert outcome.code == 0, (outcome, robot.log_text())
        return robot

    def omni(self, host: Host, *arguments: str) -> Outcome:
        done = host.run([*OMNI, *arguments], check=False, cwd=REPO)
        return Outcome(done.returncode, done.stdout, done.stderr)

    def admin(self, *arguments: str) -> Outcome:
        return self.omni(self.server, "nucleus", "admin", *arguments)

    def edges(self) -> list[dict[str, object]]:
        return list(json.loads(self.admin("list", "--json").out)["edges"])


def addresses(host: Host) -> list[str]:
    """IPv4, of omni0."""
    shown = json.loads(host.run(["ip", "-j", "-4", "address", "show", "dev", "omni0"]).stdout)
    return [f"{each['local']}/{each['prefixlen']}" for each in shown[0]["addr_info"]] if shown else []


def reach(host: Host, address: str) -> None:
    """Through the interface, by the kernel's own ping where there is one."""
    done = host.run([*OMNI, "ping", address.partition("/")[0], "-c", "1", "-W", "5"], check=False, cwd=REPO)
    assert done.returncode == 0, done.stdout + done.stderr
    done = host.run(["ping", "-c", "2", "-W", "2", address.partition("/")[0]], check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def end(process: LabProcess, number: signal.Signals = signal.SIGTERM) -> None:
    os.kill(process.pid, number)
    process.wait(timeout=20)


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    """Of each test: addresses are remembered."""
    with Lab("lease") as lab:
        yield Cluster(lab, tmp_path)


@pytest.mark.parametrize("engine", ["python", "native", "kernel"])
def test_two_robots_get_addresses_and_keep_them(cluster: Cluster, engine: str) -> None:
    cluster.allow()
    a, b = cluster.up(cluster.a, engine), cluster.up(cluster.b, engine)
    first, second = addresses(cluster.a), addresses(cluster.b)
    assert len(first) == len(second) == 1 and first != second
    assert all(text.startswith("10.77.0.1") and text.endswith("/24") for text in first + second)
    assert cluster.omni(cluster.a, "wait", "--peers", "1", "--timeout", WAIT).code == 0
    reach(cluster.a, second[0])
    assert f"{first[0]} (leased)" in cluster.omni(cluster.a, "status").out
    assert Path(cluster.path("b.key.vip4")).read_text() == second[0] + "\n"

    end(b)
    assert "omni0" not in cluster.b.interfaces()
    b = cluster.up(cluster.b, engine)
    assert addresses(cluster.b) == second
    reach(cluster.b, first[0])

    os.kill(b.pid, signal.SIGKILL)
    b.wait(timeout=20)
    b = cluster.up(cluster.b, engine)
    assert addresses(cluster.b) == second
    if engine != "python":
        assert "taking over" in b.log_text(), "the address is part of what both lives agree on"
    reach(cluster.b, first[0])

    # The list of the Nucleus gives b another address while it runs.
    cluster.allow(b="vip4=10.77.0.7/24 name=robot-b")
    wait_for(lambda: addresses(cluster.b) == ["10.77.0.7/24"], 20, "the address of the list")
    reach(cluster.a, "10.77.0.7")
    os.kill(b.pid, signal.SIGKILL)
    b.wait(timeout=20)
    b = cluster.up(cluster.b, engine)
    assert addresses(cluster.b) == ["10.77.0.7/24"]
    if engine != "python":
        assert "taking over" in b.log_text()

    for host, robot in ((cluster.a, a), (cluster.b, b)):
        end(robot)
        assert "omni0" not in host.interfaces()
        assert not list(host.path("/run/omni").glob("*")), "nothing is left"


def test_the_administrator_lists_kicks_and_shuts_out(cluster: Cluster) -> None:
    cluster.allow()
    a, b = cluster.up(cluster.a, "python"), cluster.up(cluster.b, "python")
    shown = cluster.admin("list", "--leases", "--denied")
    for text in ("robot-a", "robot-b", addresses(cluster.a)[0].partition("/")[0], "held", "there"):
        assert text in shown.out, shown
    assert {edge["name"] for edge in cluster.edges()} == {"robot-a", "robot-b"}

    assert "robot-b" in cluster.admin("kick", "robot-b").out
    wait_for(lambda: len(cluster.edges()) == 2, 60, "it is back")

    outcome = cluster.admin("deny", addresses(cluster.b)[0].partition("/")[0], "--reason", "stolen from the hall")
    assert outcome.code == 0 and "shut out until it is allowed again" in outcome.out, outcome
    b.wait_log("stolen from the hall", timeout=10)
    assert [edge["name"] for edge in cluster.edges()] == ["robot-a"]
    assert "stolen from the hall" in cluster.admin("list", "--denied").out

    end(cluster.nucleus)
    cluster.nucleus = cluster.start_nucleus()
    wait_for(lambda: [edge["name"] for edge in cluster.edges()] == ["robot-a"], 60, "a is back")
    assert "stolen from the hall" in cluster.admin("list", "--denied").out, "also after a restart"
    assert "may join again" in cluster.admin("allow", key_text(ROBOTS["b"].public_key)).out
    wait_for(lambda: len(cluster.edges()) == 2, 60, "b is back")
    for robot in (a, b):
        end(robot)
