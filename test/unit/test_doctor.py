"""`omni doctor`: each check on machines that a test makes up, then all of them on this one."""

from __future__ import annotations

import json
import os
import socket
import stat
from configparser import ConfigParser
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest
from support.command_line import REPO, Caller, omni_process

from omni_core.cli.doctor import kernel, membership, network, ros, software, system
from omni_core.cli.doctor.finding import Finding, Level, Machine
from omni_core.errors import ConfigError, SystemRefused
from omni_core.io.udp_bind import bind_all

OK, NOTE, WARNING, PROBLEM = Level.OK, Level.NOTE, Level.WARNING, Level.PROBLEM


@pytest.fixture
def omni(capsys: pytest.CaptureFixture[str]) -> Caller:
    return Caller(capsys)


def machine(root: Path, files: dict[str, str] | None = None, **environment: str) -> Machine:
    for name, text in (files or {}).items():
        path = root / name.lstrip("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return Machine(root, environment)


def specs(*known: str):
    """A find_spec that knows these modules only."""
    return lambda name: ModuleSpec(name, None, origin=f"/x/{name}/__init__.py") if name in known else None


def assert_finding(finding: Finding | None, level: Level, *words: str) -> None:
    assert finding is not None
    assert finding.level is level, finding
    for word in words:
        assert word in finding.text + " " + finding.fix, (word, finding)
    if level in (WARNING, PROBLEM):
        assert finding.fix
    assert not finding.text.endswith(".")
    assert "\n" not in finding.text + finding.fix


# --- software ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("version", "level"), [((3, 9, 18), PROBLEM), ((3, 10, 0), OK), ((3, 13, 1), OK)])
def test_python(version: tuple[int, int, int], level: Level) -> None:
    assert_finding(software.python_version(version), level, f"{version[0]}.{version[1]}")


def test_packages_are_those_of_setup_cfg() -> None:
    parser = ConfigParser()
    parser.read(REPO / "setup.cfg")
    wanted = {
        line.split(";")[0].split(">")[0].strip() for line in parser["options"]["install_requires"].split("\n") if line
    }
    assert wanted == {*software.PACKAGES.values(), *software.NUCLEUS_PACKAGES.values(), "tomli"}


def test_missing_packages_are_named_as_pip_knows_them() -> None:
    everything = {**software.PACKAGES, **software.NUCLEUS_PACKAGES}
    assert_finding(software.packages(specs(*everything)), OK, "pynacl")
    finding = software.packages(specs(*(set(everything) - {"redis"})))
    assert_finding(finding, NOTE, "a Nucleus may need redis", "pip install redis")
    finding = software.packages(specs(*(set(everything) - {"nacl", "noise"})))
    assert_finding(finding, PROBLEM, "missing: pynacl, noiseprotocol", "pip install pynacl noiseprotocol")


def test_bcc() -> None:
    assert_finding(software.bcc(lambda path: None), NOTE, "apt install python3-bpfcc")
    assert_finding(software.bcc(lambda path: "/usr/lib/python3/dist-packages"), OK, "/usr/lib/python3/dist-packages")


def test_native_engine(tmp_path: Path) -> None:
    program = tmp_path / "omni-native"

    def absent() -> Path:
        raise SystemRefused("omni-native", "it is not built", "install libssl-dev")

    assert_finding(software.native_engine(False, absent), NOTE, "not built", "kernel and python", "libssl-dev")
    assert_finding(software.native_engine(True, absent), PROBLEM, "not built", "libssl-dev")
    for script, level, words in (
        ("echo omni-native 0123abcd", OK, "build 0123abcd"),
        ("echo 'libcrypto.so.3: cannot open shared object file' >&2; exit 127", PROBLEM, "libcrypto.so.3"),
    ):
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)
        assert_finding(software.native_engine(True, lambda: program), level, words)


def test_kernel_headers_are_not_needed(tmp_path: Path) -> None:
    files = {"/proc/sys/kernel/osrelease": "6.8.0\n"}
    assert_finding(software.kernel_headers(machine(tmp_path, files)), OK, "not needed")
    (tmp_path / "lib/modules/6.8.0/build").mkdir(parents=True)
    assert_finding(software.kernel_headers(machine(tmp_path)), OK, "there, but not needed")


# --- kernel -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("release", "level"),
    [("6.18.44-vm", OK), ("5.12.0", OK), ("5.11.22-generic", NOTE), ("4.19.0", NOTE), ("FreeBSD", PROBLEM)],
)
def test_kernel_version(tmp_path: Path, release: str, level: Level) -> None:
    assert_finding(kernel.kernel_version(machine(tmp_path, {"/proc/sys/kernel/osrelease": release})), level)


def test_not_linux(tmp_path: Path) -> None:
    assert_finding(kernel.kernel_version(machine(tmp_path)), PROBLEM, "not Linux")


@pytest.mark.parametrize(
    ("mask", "net_admin", "bpf"),
    [
        ("000001ffffffffff", OK, OK),
        ("0000000000000000", PROBLEM, NOTE),
        (f"{1 << 12:016x}", OK, NOTE),
        (f"{1 << 39:016x}", PROBLEM, WARNING),
        (f"{1 << 21 | 1 << 12:016x}", OK, OK),
        ("nonsense", PROBLEM, NOTE),
    ],
)
def test_capabilities(tmp_path: Path, mask: str, net_admin: Level, bpf: Level) -> None:
    here = machine(tmp_path, {"/proc/self/status": f"Name:\tpython\nCapPrm:\tffff\nCapEff:\t{mask}\nCapBnd:\t0\n"})
    assert_finding(kernel.net_admin(here), net_admin)
    assert_finding(kernel.bpf_capability(here), bpf)


def test_tun_device(tmp_path: Path) -> None:
    assert_finding(kernel.tun_device(machine(tmp_path)), PROBLEM, "does not exist", "modprobe tun")
    here = machine(tmp_path, {"/dev/net/tun": ""})
    assert_finding(kernel.tun_device(here), PROBLEM, "is not a device")
    os.unlink(tmp_path / "dev/net/tun")
    os.symlink("/dev/null", tmp_path / "dev/net/tun")  # a character device that everybody may open
    assert_finding(kernel.tun_device(here), OK)
    for error, words in (
        (PermissionError(13, "Permission denied"), "run as root"),
        (OSError(19, "No device"), "modprobe"),
    ):

        def refuse(path: str, flags: int, error: OSError = error) -> int:
            raise error

        assert_finding(kernel.tun_device(here, refuse), PROBLEM, words)


def test_bpf_file_system(tmp_path: Path) -> None:
    assert_finding(kernel.bpf_file_system(machine(tmp_path)), NOTE, "mount -t bpf")
    mounts = "proc /proc proc rw 0 0\nnone /sys/fs/bpf bpf rw 0 0\n"
    assert_finding(kernel.bpf_file_system(machine(tmp_path, {"/proc/self/mounts": mounts})), OK)
    mounts = "none /mnt bpf rw 0 0\nnone /sys/fs/bpf tmpfs rw 0 0\n"
    assert_finding(kernel.bpf_file_system(machine(tmp_path, {"/proc/self/mounts": mounts})), NOTE)


# --- network ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ways", "links", "wanted", "level", "words"),
    [
        ({"10.0.0.1": 1400}, [], 0, OK, "1400, so 1318"),
        ({network.ROUTE_PROBES[0]: 1500}, [], 0, OK, "1500, so 1418"),
        ({network.ROUTE_PROBES[1]: 1500}, [], 1418, OK, "1418"),
        ({}, [9000, 1500], 0, OK, "1500, so 1418"),
        ({network.ROUTE_PROBES[0]: 1500}, [], 1419, WARNING, "set mtu to 0"),
        ({network.ROUTE_PROBES[0]: 1361}, [], 0, WARNING, "1362"),
        ({network.ROUTE_PROBES[0]: 1362}, [], 0, OK, "1280"),
        ({}, [], 0, NOTE, "no interface is up"),
    ],
)
def test_underlay_mtu(ways: dict[str, int], links: list[int], wanted: int, level: Level, words: str) -> None:
    def mtu_towards(host: str) -> tuple[int, int] | None:
        return (2, ways[host]) if host in ways else None

    assert_finding(network.underlay_mtu(mtu_towards, ["10.0.0.1"], links, wanted), level, words)


def test_udp_port_that_is_free_and_one_that_is_taken() -> None:
    taken = bind_all(0, ["127.0.0.1"])[0]
    port = taken.getsockname()[1]
    finding = network.udp_port(port, lambda: bind_all(port, ["127.0.0.1"]), ganglion_runs=False)
    assert_finding(finding, PROBLEM, f"UDP port {port} is in use", "another port")
    assert_finding(network.udp_port(port, list, ganglion_runs=True), OK, "Ganglion is running")
    taken.close()
    assert_finding(
        network.udp_port(port, lambda: bind_all(port, ["127.0.0.1"]), ganglion_runs=False), OK, "free (IPv4)"
    )
    bind_all(port, ["127.0.0.1"])[0].close()  # the check let go of it


@pytest.mark.parametrize(
    ("files", "runs", "level", "words"),
    [
        ({}, False, OK, "the name is free"),
        ({}, True, PROBLEM, "is gone"),
        ({"flags": "0x1003", "mtu": "1418"}, True, OK, "MTU 1418"),
        ({"flags": "0x3", "mtu": "1418"}, True, WARNING, "multicast on"),
        ({"flags": "0x1003", "ifalias": "omni_ros2 omni0"}, False, NOTE, "next start cleans it up"),
        ({"flags": "0x1003", "ifalias": ""}, False, PROBLEM, "ip link del omni0"),
    ],
)
def test_overlay_interface(tmp_path: Path, files: dict[str, str], runs: bool, level: Level, words: str) -> None:
    here = machine(tmp_path, {f"/sys/class/net/omni0/{name}": text for name, text in files.items()})
    assert_finding(network.overlay_interface(here, "omni0", runs), level, words)


def test_multicast_route() -> None:
    assert_finding(network.multicast_route("omni0", lambda group: None), NOTE, "ip route add 239.0.0.0/8 dev omni0")
    assert_finding(network.multicast_route("omni0", lambda group: "10.0.0.5"), OK, "10.0.0.5")


@pytest.mark.parametrize(("text", "level"), [("0", OK), ("1", WARNING), (None, WARNING)])
def test_ipv6(tmp_path: Path, text: str | None, level: Level) -> None:
    files = {} if text is None else {"/proc/sys/net/ipv6/conf/all/disable_ipv6": text}
    assert_finding(network.ipv6_enabled(machine(tmp_path, files)), level)


def test_host_name() -> None:
    assert_finding(network.host_name("n.example.org", lambda name: True), OK)
    assert_finding(network.host_name("n.example.org", lambda name: False), WARNING, "check DNS")
    assert network.resolves("localhost")
    assert not network.resolves("host.invalid." + "x" * 64)


# --- system -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("now", "synchronised", "level", "words"),
    [
        (0.0, True, WARNING, "1970"),
        (1.7e9, None, WARNING, "2023"),
        (1.8e9, True, OK, "2027"),
        (1.8e9, None, OK, "2027"),
        (1.8e9, False, NOTE, "chrony"),
        (5e9, True, WARNING, "2128"),
    ],
)
def test_clock(now: float, synchronised: bool | None, level: Level, words: str) -> None:
    assert_finding(system.clock(now, synchronised), level, words)


def test_the_kernel_says_whether_its_clock_is_synchronised() -> None:
    assert system.kernel_clock_synchronised() in (True, False, None)


def test_sysctls(tmp_path: Path) -> None:
    def check(**values: str) -> dict[str, Finding]:
        files = {f"/proc/sys/{key.replace('__', '/')}": text for key, text in values.items()}
        return {finding.check: finding for finding in system.sysctls(machine(tmp_path, files))}

    found = check(net__ipv4__ipfrag_time="3", net__ipv4__ipfrag_high_thresh="134217728", net__core__rmem_max="99999999")
    assert {finding.level for finding in found.values()} == {OK}
    found = check(net__ipv4__ipfrag_time="30", net__ipv4__ipfrag_high_thresh="4194304", net__core__rmem_max="212992")
    for key, wanted in (
        ("net.ipv4.ipfrag_time", 3),
        ("net.ipv4.ipfrag_high_thresh", 134217728),
        ("net.core.rmem_max", 16777216),
    ):
        assert_finding(found[key], WARNING, f"sysctl -w {key}={wanted}")
    os.unlink(tmp_path / "proc/sys/net/core/rmem_max")
    assert_finding(system.sysctls(machine(tmp_path))[2], NOTE, "cannot be read")


def test_shared_memory(tmp_path: Path) -> None:
    assert_finding(system.shared_memory(machine(tmp_path)), NOTE, "not there")
    assert system.shared_memory(Machine()).level in (NOTE, WARNING)


def test_run_directory(tmp_path: Path) -> None:
    assert_finding(system.run_directory(str(tmp_path)), OK, str(tmp_path))
    assert_finding(system.run_directory(str(tmp_path / "a" / "b")), OK, "will be made")
    refused = system.run_directory(str(tmp_path / "a" / "b"), access=lambda path, mode: False)
    assert_finding(refused, PROBLEM, f"{tmp_path} is not writable")


# --- ROS --------------------------------------------------------------------------------------------------------------


def test_distro(tmp_path: Path) -> None:
    assert_finding(ros.distro(machine(tmp_path), specs()), NOTE, "not installed")
    here = machine(tmp_path, {"/opt/ros/jazzy/setup.bash": "", "/opt/ros/empty/readme": ""})
    assert_finding(ros.distro(here, specs()), NOTE, "installed (jazzy)", "source /opt/ros/jazzy/setup.bash")
    assert_finding(ros.distro(machine(tmp_path, ROS_DISTRO="jazzy"), specs()), WARNING, "cannot import rclpy")
    assert_finding(ros.distro(machine(tmp_path), specs("rclpy")), NOTE, "ROS_DISTRO is not set")
    assert_finding(ros.distro(machine(tmp_path, ROS_DISTRO="jazzy"), specs("rclpy")), OK, "jazzy")
    assert_finding(
        ros.distro(machine(tmp_path, ROS_DISTRO="foxy"), specs("rclpy")), OK, "not a distro that omni was tried with"
    )


def test_messages() -> None:
    def without_parent(name: str) -> ModuleSpec | None:
        if name == "omni_ros2.msg":
            raise ModuleNotFoundError(name)
        return specs("rclpy")(name)

    assert ros.messages(specs()) is None
    assert_finding(ros.messages(specs("rclpy")), NOTE, "colcon build")
    assert_finding(ros.messages(without_parent), NOTE, "colcon build")
    assert_finding(ros.messages(specs("rclpy", "omni_ros2.msg")), OK)


def test_middleware(tmp_path: Path) -> None:
    index = "share/ament_index/resource_index/rmw_typesupport"
    assert ros.middleware(machine(tmp_path), specs()) is None
    assert_finding(ros.middleware(machine(tmp_path, AMENT_PREFIX_PATH="/p"), specs("rclpy")), WARNING, "no RMW")
    files = {
        f"/p/{index}/rmw_fastrtps_cpp": "",
        f"/p/{index}/rmw_implementation": "",
        f"/q/{index}/rmw_cyclonedds_cpp": "",
    }
    here = machine(tmp_path, files, AMENT_PREFIX_PATH="/p:/q:")
    assert_finding(
        ros.middleware(here, specs("rclpy")), OK, "default (installed: rmw_cyclonedds_cpp, rmw_fastrtps_cpp)"
    )
    chosen = machine(tmp_path, AMENT_PREFIX_PATH="/p", RMW_IMPLEMENTATION="rmw_cyclonedds_cpp")
    assert_finding(ros.middleware(chosen, specs("rclpy")), WARNING, "rmw_cyclonedds_cpp is not installed")


@pytest.mark.parametrize(
    ("environment", "level", "words"),
    [
        ({}, OK, "domain 0"),
        ({"ROS_DOMAIN_ID": "", "ROS_LOCALHOST_ONLY": "0"}, OK, "domain 0"),
        ({"ROS_DOMAIN_ID": "42", "ROS_AUTOMATIC_DISCOVERY_RANGE": "SUBNET"}, OK, "range SUBNET"),
        ({"ROS_DOMAIN_ID": "101"}, OK, "101"),
        ({"ROS_DOMAIN_ID": "102"}, WARNING, "ephemeral"),
        ({"ROS_DOMAIN_ID": "233"}, WARNING, "ephemeral"),
        ({"ROS_DOMAIN_ID": "-1"}, WARNING, "not a number"),
        ({"ROS_LOCALHOST_ONLY": "1"}, WARNING, "ROS_LOCALHOST_ONLY"),
        ({"ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST"}, WARNING, "SUBNET"),
        ({"ROS_AUTOMATIC_DISCOVERY_RANGE": "OFF"}, WARNING, "SUBNET"),
    ],
)
def test_discovery(tmp_path: Path, environment: dict[str, str], level: Level, words: str) -> None:
    assert_finding(ros.discovery(machine(tmp_path, **environment)), level, words)


def test_nodes_that_started_too_early() -> None:
    assert ros.early_nodes([], "omni0") is None
    assert_finding(ros.early_nodes(["talker (12)"], "omni0"), WARNING, "talker (12)", "restart")


# --- files ------------------------------------------------------------------------------------------------------------


def test_key_and_other_files(tmp_path: Path) -> None:
    path = str(tmp_path / "key")

    def refuse(path: str) -> None:
        raise ConfigError("key_file", f"{path} is open", "chmod 600 it")

    assert_finding(membership.key_file(path, refuse), NOTE, "omni keygen")
    (tmp_path / "key").touch()
    assert_finding(membership.key_file(path, refuse), PROBLEM, "is open", "chmod 600")
    assert_finding(membership.key_file(path, lambda path: None), OK, path)
    assert_finding(membership.readable("token_file", path, refuse), PROBLEM, "key_file: ")


# --- this machine -----------------------------------------------------------------------------------------------------


def findings_of(outcome_out: str) -> dict[str, dict[str, str]]:
    return {finding["check"]: finding for finding in json.loads(outcome_out)["findings"]}


def test_doctor_is_right_about_this_machine(tmp_path: Path) -> None:
    """What it says is compared with what the machine does when asked in another way."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", 0))
        outcome = omni_process(
            "doctor", "--json", "--listen-port", "0", "--key-file", str(tmp_path / "key"), "--interface", "omnidoc0"
        )
    found = findings_of(outcome.out)
    assert outcome.err == ""
    assert outcome.code == (1 if any(finding["level"] == "problem" for finding in found.values()) else 0)
    assert set(found["key_file"]) == {"check", "level", "text", "fix"}
    assert found["key_file"]["level"] == "note"
    assert found["kernel"]["text"].startswith(f"Linux {os.uname().release}")
    tun = Path("/dev/net/tun")
    may_open = tun.exists() and stat.S_ISCHR(tun.stat().st_mode) and os.access(tun, os.R_OK | os.W_OK)
    assert (found["/dev/net/tun"]["level"] == "ok") == may_open
    assert found["UDP port (any)"]["level"] == "ok"
    assert found["omnidoc0"]["text"] == "the name is free"
    ipfrag_time = Path("/proc/sys/net/ipv4/ipfrag_time").read_text().strip()
    assert found["net.ipv4.ipfrag_time"]["text"].startswith(ipfrag_time)


def test_every_line_is_readable(omni: Caller, tmp_path: Path) -> None:
    outcome = omni("doctor", "--listen-port", "0", "--key-file", tmp_path / "key")
    lines = outcome.out.splitlines()
    levels = {level.value for level in Level}
    assert all(line.split()[0] in {*levels, "fix:"} for line in lines[:-1])
    assert lines[-1].startswith(("omni can run here: 0 problems", "omni cannot run here: "))


def test_a_wrong_configuration_is_a_finding(omni: Caller, tmp_path: Path) -> None:
    outcome = omni("doctor", "--json", "--token-file", tmp_path / "token", "--listen-port", "0", "--mtu", "17")
    found = findings_of(outcome.out)
    assert outcome.code == 1
    assert found["configuration"]["level"] == "problem"
    assert found["configuration"]["text"].startswith("mtu: 17 is out of range")


def test_files_of_the_configuration_are_read(omni: Caller, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("hunter2hunter2")
    (tmp_path / "secret").write_text("hunter2hunter2")
    (tmp_path / "secret").chmod(0o644)
    config = tmp_path / "ganglion.toml"
    config.write_text(f'token_file = "{tmp_path}/token"\nsecret_file = "{tmp_path}/secret"\nlisten_port = 0\n')
    (tmp_path / "token").chmod(0o600)
    outcome = omni("doctor", "--json", "--config", config, "--key-file", tmp_path / "key")
    found = findings_of(outcome.out)
    assert found["configuration"]["text"] == str(config)
    assert found["token_file"]["level"] == found["secret_file"]["level"] == "problem"
    assert "chmod 600" in found["secret_file"]["fix"]
    assert "hunter2" not in outcome.out
    assert outcome.code == 1
