"""The command `omni` with real processes in namespaces: the whole way from keys to a ping, and every refusal.

server: Nucleus      a: robot-1 (omni up)      b: robot-2 and the refused ones
"""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from support.command_line import OMNI, REPO, Outcome

from omni_core.crypto.identity import Identity, encode_key_file, key_text
from omni_core.crypto.token import JoinToken
from omni_core.types import Endpoint
from tools.netlab import Host, Lab, LabProcess, unavailable, wait_for

pytestmark = [pytest.mark.netns, pytest.mark.skipif(unavailable() is not None, reason=str(unavailable()))]

NUCLEUS = Identity.from_seed(bytes(range(32)))
SECRET = "correct-horse-battery-staple"
WAIT = "20"  # s; far above what anything here takes


class Cluster:
    """A Nucleus and one robot that is up, with the files that further robots need in ``directory``."""

    def __init__(self, lab: Lab, directory: Path) -> None:
        self.directory = directory
        self.server, self.a, self.b = lab.host("server"), lab.host("a"), lab.host("b")
        self.write("nucleus.key", encode_key_file(NUCLEUS))
        self.write("secret", SECRET + "\n")
        self.token = self.write_token("token")
        nucleus = ["nucleus", "--key-file", self.path("nucleus.key"), "--clusters", "wh"]
        self.nucleus = self.start(self.server, "nucleus", *nucleus, "--secret-files", f"wh={self.path('secret')}")
        self.nucleus.wait_log("Nucleus on UDP port 51820", timeout=20)
        self.robot = self.start(self.a, "up", *self.up("a", vip4="10.77.0.1/24", name="robot-1"))
        self.robot.wait_log("registered with the Nucleus", timeout=20)

    def path(self, name: str) -> str:
        return str(self.directory / name)

    def write(self, name: str, text: str) -> str:
        path = self.directory / name
        path.write_text(text)
        path.chmod(0o600)
        return str(path)

    def write_token(self, name: str, cluster: str = "wh", secret: str = SECRET, key: Identity = NUCLEUS) -> str:
        assert self.server.ipv4 is not None
        token = JoinToken((Endpoint(self.server.ipv4, 51820),), cluster, (key.public_key,), secret.encode())
        return self.write(name, token.format() + "\n")

    def up(self, key: str, token: str = "", **options: str) -> list[str]:
        words = [word for name, value in options.items() for word in (f"--{name.replace('_', '-')}", value)]
        return ["up", "--key-file", self.path(f"{key}.key"), "--token-file", token or self.token, *words]

    def start(self, host: Host, name: str, *arguments: str) -> LabProcess:
        return host.start([*OMNI, *arguments], name=name, cwd=REPO)

    def omni(self, host: Host, *arguments: str, before: Sequence[str] = ()) -> Outcome:
        done = host.run([*before, *OMNI, *arguments], check=False, cwd=REPO)
        return Outcome(done.returncode, done.stdout, done.stderr)

    def refused(self, host: Host, *arguments: str, before: Sequence[str] = ()) -> Outcome:
        """Runs to its end, leaves nothing behind: no interface, no file in /run/omni, no process."""
        interfaces, files = host.interfaces(), run_files(host)
        outcome = self.omni(host, *arguments, before=before)
        assert host.interfaces() == interfaces
        assert run_files(host) == files
        assert SECRET not in outcome.out + outcome.err
        return outcome


def run_files(host: Host) -> list[str]:
    directory = host.path("/run/omni")
    return sorted(os.listdir(directory)) if directory.is_dir() else []


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with Lab("cli") as lab:
        yield Cluster(lab, tmp_path_factory.mktemp("cli"))


def stop(process: LabProcess, number: signal.Signals = signal.SIGTERM) -> None:
    os.kill(process.pid, number)
    assert process.wait(timeout=20) == 0, process.log_text()


def test_from_a_token_on_standard_input_to_a_ping(cluster: Cluster) -> None:
    """Two robots, one of them given its token by a pipe; every asking command; no secret in argv, output or status."""
    up = " ".join([*OMNI, *cluster.up("b", token="-", vip4="10.77.0.2/24", name="robot-2")])
    robot = cluster.b.start(["sh", "-c", f"exec {up} < {cluster.token}"], name="up", cwd=REPO)
    outcome = cluster.omni(cluster.a, "wait", "--peers", "1", "--timeout", WAIT)
    assert outcome == (0, "1 peer up: robot-2\n", "")
    assert cluster.omni(cluster.b, "wait", "--timeout", WAIT).code == 0

    status = json.loads(cluster.omni(cluster.b, "status", "--json").out)
    assert (status["name"], status["nucleus_state"], status["interface"]) == ("robot-2", "registered", "omni0")
    peers = json.loads(cluster.omni(cluster.a, "peers", "--json").out)
    assert [(peer["name"], peer["vip4"], peer["state"]) for peer in peers] == [("robot-2", "10.77.0.2", "up")]
    for target in ("10.77.0.2", peers[0]["vip6"], peers[0]["mac"], "robot-2"):
        outcome = cluster.omni(cluster.a, "ping", target, "-c", "2", "-i", "0.05")
        assert outcome.code == 0, outcome
        assert "2 sent, 2 received, 0 % loss" in outcome.out
    outcome = cluster.omni(cluster.a, "ping", "10.77.0.99", "-c", "1", "-W", "0.5")
    assert outcome.code == 1
    assert "1 sent, 0 received" in outcome.out
    outcome = cluster.omni(cluster.a, "wait", "--peers", "3", "--timeout", "0.2")
    outcome.assert_refused(5, "wait", "1 of 3 peers up", "2 not known at all")
    assert "wh" in cluster.omni(cluster.server, "status", "--nucleus").out

    key_secret = Path(cluster.path("b.key")).read_text().partition("secret = ")[2].strip()
    texts = [robot.log_text(), cluster.robot.log_text(), cluster.nucleus.log_text(), json.dumps(status)]
    texts += [Path(f"/proc/{p.pid}/cmdline").read_text() for p in (robot, cluster.robot, cluster.nucleus)]
    for secret in (SECRET, key_secret):
        assert not any(secret in text for text in texts)

    stop(robot)
    assert "stopping (SIGTERM)" in robot.log_text()
    assert "omni0" not in cluster.b.interfaces()
    assert run_files(cluster.b) == []
    cluster.robot.wait_log("robot-2 .*goodbye", timeout=10)
    cluster.nucleus.wait_log("wh: robot-2 left", timeout=10)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_other_signals_stop_it_as_cleanly(cluster: Cluster, number: signal.Signals) -> None:
    robot = cluster.start(cluster.b, number.name, *cluster.up("signals", vip4="10.77.0.5/24"))
    robot.wait_log("registered with the Nucleus", timeout=20)
    stop(robot, number)
    assert "omni0" not in cluster.b.interfaces()
    assert run_files(cluster.b) == []


def test_started_again_after_kill_9(cluster: Cluster) -> None:
    command = cluster.up("killed", vip4="10.77.0.6/24", name="robot-6")
    robot = cluster.start(cluster.b, "killed", *command)
    robot.wait_log("registered with the Nucleus", timeout=20)
    os.kill(robot.pid, signal.SIGKILL)
    robot.wait(timeout=20)
    cluster.omni(cluster.b, "status").assert_refused(3, "admin socket", "nobody answers")
    robot = cluster.start(cluster.b, "again", *command)
    robot.wait_log("registered with the Nucleus", timeout=20)
    assert cluster.omni(cluster.b, "wait", "--timeout", WAIT).code == 0
    stop(robot)
    assert run_files(cluster.b) == []


def test_the_nucleus_refuses_with_a_reason(cluster: Cluster) -> None:
    taken = cluster.refused(cluster.b, *cluster.up("x", vip4="10.77.0.1/24"))
    assert taken.code == 4
    assert "10.77.0.1" in taken.err
    wrong = cluster.refused(cluster.b, *cluster.up("x", cluster.write_token("wrong", secret="not-the-secret")))
    assert wrong.code == 4
    assert "secret" in wrong.err
    unknown = cluster.refused(cluster.b, *cluster.up("x", cluster.write_token("unknown", cluster="nowhere")))
    assert unknown.code == 4
    assert "nowhere" in unknown.err
    for outcome in (taken, wrong, unknown):
        assert outcome.err.startswith("omni: the Nucleus refused the registration: ")
        assert len(outcome.err.splitlines()) == 1


def test_a_wrong_nucleus_key_is_met_with_silence(cluster: Cluster) -> None:
    token = cluster.write_token("stranger", key=Identity.from_seed(bytes(32)))
    outcome = cluster.refused(cluster.b, *cluster.up("x", token, register_timeout="2"))
    assert outcome.code == 5
    assert "omni: nucleus: not registered after 2 s" in outcome.err
    assert "nucleus_key is its key" in outcome.err


@pytest.mark.parametrize(
    ("options", "field", "words"),
    [
        ({"interface": "eth0"}, "interface", "eth0 exists already"),
        ({"interface": "a-name-too-long-for-linux"}, "interface", "Linux allows 15"),
        ({"listen_address": "203.0.113.9"}, "listen_address", "203.0.113.9"),
        ({"bridge": "none0"}, "bridge", "none0"),
        ({"mtu": "17"}, "mtu", "out of range"),
        ({"vip4": "10.77.0.1"}, "vip4", "prefix length"),
        ({"secret_file": "/none"}, "secret_file", "token"),
    ],
)  # fmt: skip
def test_what_a_user_can_get_wrong(cluster: Cluster, options: dict[str, str], field: str, words: str) -> None:
    cluster.refused(cluster.b, *cluster.up("x", **options)).assert_refused(2, field, words)


def test_port_in_use(cluster: Cluster) -> None:
    cluster.refused(cluster.a, *cluster.up("x", interface="omni1")).assert_refused(2, "listen_port", "51820 is in use")


def test_interface_that_another_ganglion_has(cluster: Cluster) -> None:
    outcome = cluster.refused(cluster.a, *cluster.up("x", listen_port="0"))
    outcome.assert_refused(2, "interface", "omni0")


def test_key_file_open_to_others(cluster: Cluster) -> None:
    path = cluster.write("open.key", encode_key_file(Identity.from_seed(bytes(32))))
    os.chmod(path, 0o644)
    cluster.refused(cluster.b, *cluster.up("open")).assert_refused(2, "key_file", path, "chmod 600")


def test_without_cap_net_admin(cluster: Cluster) -> None:
    drop = ["setpriv", "--bounding-set", "-net_admin", "--inh-caps", "-net_admin"]
    cluster.refused(cluster.b, *cluster.up("x"), before=drop).assert_refused(3, "CAP_NET_ADMIN", "grant it")
    doctor = cluster.omni(cluster.b, "doctor", "--json", before=drop)
    assert doctor.code == 1
    assert problems(doctor) == ["CAP_NET_ADMIN"]


def test_without_dev_net_tun(cluster: Cluster) -> None:
    hide = ["unshare", "--mount", "sh", "-c", 'mount -t tmpfs none /dev/net && exec "$@"', "hide"]
    cluster.refused(cluster.b, *cluster.up("x"), before=hide).assert_refused(3, "/dev/net/tun", "modprobe tun")
    doctor = cluster.omni(cluster.b, "doctor", "--json", before=hide)
    assert doctor.code == 1
    assert problems(doctor) == ["/dev/net/tun"]


def problems(doctor: Outcome) -> list[str]:
    findings = json.loads(doctor.out)["findings"]
    return [finding["check"] for finding in findings if finding["level"] == "problem"]


def test_doctor_next_to_a_running_ganglion_and_before_one(cluster: Cluster) -> None:
    running = cluster.omni(cluster.a, "doctor", "--json", *cluster.up("a")[1:])
    found = {finding["check"]: finding for finding in json.loads(running.out)["findings"]}
    assert running.code == 0, problems(running)
    assert found["omni0"]["text"].startswith("up, MTU 1418")
    assert found["UDP port 51820"]["text"] == "a Ganglion is running"
    assert found["token_file"]["level"] == found["key_file"]["level"] == "ok"
    before = cluster.omni(cluster.a, "doctor", "--json", "--interface", "eth0", "--run-dir", "/run/other")
    assert problems(before) == ["eth0", "UDP port 51820"]
    assert before.code == 1


def test_an_interface_that_is_taken_away_ends_it(cluster: Cluster) -> None:
    robot = cluster.start(cluster.b, "bereft", *cluster.up("bereft", vip4="10.77.0.7/24"))
    robot.wait_log("registered with the Nucleus", timeout=20)
    cluster.b.ip("link del omni0")
    assert robot.wait(timeout=20) == 3
    assert "omni: omni0: the interface was removed by somebody else" in robot.log_text()
    assert run_files(cluster.b) == []


def test_configuration_file_of_ros(cluster: Cluster) -> None:
    """One YAML for the node serves the command too."""
    config = cluster.write(
        "params.yaml",
        "/**:\n  ros__parameters:\n"
        f'    token_file: "{cluster.token}"\n    key_file: "{cluster.path("yaml.key")}"\n    nucleus: [""]\n'
        "/robot8/ganglion:\n  ros__parameters:\n    vip4: 10.77.0.8/24\n    name: robot-8\n",
    )
    robot = cluster.start(cluster.b, "yaml", "up", "--config", config, "--interface", "omni8")
    robot.wait_log("omni8 is up: 10.77.0.8/24", timeout=20)
    status = json.loads(cluster.omni(cluster.b, "status", "--json", "--interface", "omni8").out)
    assert status["name"] == "robot-8"
    key = cluster.omni(cluster.b, "keygen", "--show", "--json", cluster.path("yaml.key"))
    assert json.loads(key.out)["public_key"] == status["public_key"]
    stop(robot)


def test_nucleus_refuses_what_is_wrong_and_stops_cleanly(cluster: Cluster) -> None:
    key = ["--key-file", cluster.path("other.key")]
    taken = cluster.refused(cluster.server, "nucleus", "--clusters", "x", "--run-dir", "/run/other", *key)
    taken.assert_refused(2, "listen_port", "51820 is in use")
    cluster.refused(cluster.b, "nucleus", *key).assert_refused(2, "clusters", "is empty")
    other = cluster.start(cluster.b, "nucleus", "nucleus", "--clusters", "x", "--listen-port", "0", *key)
    port = other.wait_log(r"Nucleus on UDP port (\d+), clusters: x \(open\)", timeout=20)[1]
    cluster.b.wait_listening(int(port), "udp")
    shown = other.wait_log(r"key (\S{43})", timeout=20)[1]
    assert (
        shown
        == json.loads(cluster.omni(cluster.b, "keygen", "--show", "--json", cluster.path("other.key")).out)[
            "public_key"
        ]
    )
    stop(other)
    wait_for(lambda: run_files(cluster.b) == [], 5, "the files in /run/omni to go")
    assert key_text(NUCLEUS.public_key) in cluster.nucleus.log_text()
