"""The installed programs, started as `ros2 run omni_ros2 ganglion` and `... nucleus` start them."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path

import pytest

pytest.importorskip("rclpy")

from support.managed_node import executable, remote, wait_until
from support.own_network import interfaces

from omni_core.crypto.identity import Identity, encode_key_file, key_text
from omni_core.version import version
from omni_ros2.msg import GanglionStatus, NucleusStatus

pytestmark = [pytest.mark.ros, pytest.mark.netns, pytest.mark.usefixtures("robot_network")]

TIMEOUT = 30.0  # s

Parameters = dict[str, object]


def as_text(parameters: Parameters) -> dict[str, str]:
    """As `-p name:=value` takes them."""
    return {name: str(value).replace("'", '"') for name, value in parameters.items()}


def end(process: subprocess.Popen[str], number: signal.Signals) -> str:
    """Send the signal; the process must end well. Returns what it printed."""
    process.send_signal(number)
    output, _ = process.communicate(timeout=TIMEOUT)
    assert process.returncode == 0, output
    assert "Traceback" not in output, output
    return output


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_a_signal_removes_everything(number: signal.Signals, ganglion_parameters: Parameters, run_dir: Path) -> None:
    with executable("ganglion", as_text({**ganglion_parameters, "autostart": "true"})) as process:
        with remote("ganglion") as ganglion:
            wait_until(lambda: ganglion.state() == "active", "autostart")
            assert "omni0" in interfaces()
        end(process, number)
    assert interfaces() == set()
    assert {path.suffix for path in run_dir.iterdir()} <= {".lock"}


def test_a_killed_ganglion_starts_again(ganglion_parameters: Parameters) -> None:
    for _ in range(2):
        with executable("ganglion", as_text({**ganglion_parameters, "autostart": "true"})) as process:
            with remote("ganglion") as ganglion:
                wait_until(lambda: ganglion.state() == "active", "autostart")
            process.kill()
            process.wait()
    with executable("ganglion", as_text({**ganglion_parameters, "autostart": "true"})) as process:
        with remote("ganglion") as ganglion:
            wait_until(lambda: ganglion.state() == "active", "autostart")
        end(process, signal.SIGTERM)
    assert interfaces() == set()


def test_registered_at_the_nucleus(
    ganglion_parameters: Parameters, nucleus_parameters: Parameters, tmp_path: Path
) -> None:
    identity = Identity.from_seed(bytes(range(32)))
    key_file = tmp_path / "nucleus.key"
    key_file.touch(0o600)
    key_file.write_text(encode_key_file(identity))
    nucleus = {**nucleus_parameters, "listen_port": 51821, "autostart": "true"}
    ganglion = {
        **ganglion_parameters,
        "nucleus": ["127.0.0.1:51821"],
        "nucleus_key": key_text(identity.public_key),
        "autostart": "true",
    }
    with executable("nucleus", as_text(nucleus)) as first, executable("ganglion", as_text(ganglion)) as second:
        with remote("ganglion") as edge, remote("nucleus") as server:
            with edge.listening(GanglionStatus) as of_edge, server.listening(NucleusStatus) as of_server:
                wait_until(
                    lambda: of_edge and of_edge[-1].nucleus_state == GanglionStatus.NUCLEUS_REGISTERED, "registration"
                )
                assert of_edge[-1].observed_endpoint.startswith("127.0.0.1:")
                wait_until(lambda: of_server and of_server[-1].edges == 1, "the edge in the Nucleus's status")
                assert edge.change("deactivate")
                wait_until(lambda: of_server[-1].edges == 0, "the edge's departure")
        assert "registered" in end(second, signal.SIGINT)
        end(first, signal.SIGINT)


def test_without_cap_net_admin(ganglion_parameters: Parameters, run_dir: Path) -> None:
    prefix = ["setpriv", "--bounding-set=-net_admin", "--inh-caps=-net_admin"]
    with executable("ganglion", as_text(ganglion_parameters), prefix) as process:
        with remote("ganglion") as ganglion:
            assert not ganglion.change("configure")
            assert ganglion.state() == "unconfigured"
        output = end(process, signal.SIGINT)
    errors = [line for line in output.splitlines() if "[ERROR]" in line]
    assert len(errors) == 1, output
    assert "CAP_NET_ADMIN" in errors[0]
    assert "Fix: " in errors[0]
    assert interfaces() == set()
    assert {path.suffix for path in run_dir.iterdir()} <= {".lock"}


@pytest.mark.parametrize(
    ("arguments", "said"), [(["-p", "listen_port"], "listen_port"), (["--no-such-option"], "no-such-option")]
)
def test_a_command_line_that_ros_refuses(arguments: list[str], said: str) -> None:
    done = subprocess.run(
        ["ganglion", "--ros-args", *arguments], capture_output=True, text=True, timeout=TIMEOUT, check=False
    )
    assert done.returncode == 2
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_a_signal_before_anything_is_up() -> None:
    with executable("nucleus", {}) as process:
        wait_until(lambda: _handles(process.pid, signal.SIGTERM), "the signal handler")
        end(process, signal.SIGTERM)


def test_the_command_line_tool_is_installed_too() -> None:
    done = subprocess.run(["omni", "--version"], capture_output=True, text=True, timeout=TIMEOUT, check=True, cwd="/")
    assert done.stdout.strip().endswith(version())


def _handles(pid: int, number: signal.Signals) -> bool:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("SigCgt:"):
            return bool(int(line.split()[1], 16) >> (number - 1) & 1)
    return False
