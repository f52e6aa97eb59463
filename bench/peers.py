"""What the subjects that other projects made have in common: packages, processes, the interface, waiting for packets.

Rules for all of them, so that the comparison is fair: encryption and authentication on; the fastest cipher that the
program offers and its makers regard as safe; an MTU with which a full packet inside fills one underlay packet of 1,500
bytes; threads and queues as the program sets them; logging quiet; keys and configuration made for this run, in a
private directory of the lab; both ends know each other's address.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from bench.subjects import ADDRESS_A, ADDRESS_B, PREFIX_LENGTH, Addresses, Kind
from tools.netlab import Host, Lab, LabError, LabProcess, wait_for

START_TIMEOUT = 45.0  # s until packets cross; fastd tries again after 20 s when two handshakes have met
SEARCH_PATH = f"{os.environ.get('PATH', os.defpath)}:/usr/local/sbin:/usr/sbin:/sbin"  # daemons live in sbin

# Headers around an inner packet, bytes.
IPV4_UDP = 20 + 8
ETHERNET = 14


class Peer:
    """A subclass says how to start it in ``connect``, and leaves ``interface`` on both hosts."""

    kind: Kind = "peer"
    name: str
    description: str
    commands: Sequence[tuple[str, str]]  # command, Debian package; the first is the program itself
    interface: str
    mtu: int

    def __init__(self) -> None:
        self._processes: list[LabProcess] = []

    def missing_packages(self) -> Sequence[str]:
        missing = [package for command, package in self.commands if not shutil.which(command, path=SEARCH_PATH)]
        return tuple(dict.fromkeys(missing))

    def version(self) -> str:
        command = ["dpkg-query", "-W", "-f", "${Version}", self.commands[0][1]]
        try:
            result = subprocess.run(command, capture_output=True, text=True)
        except FileNotFoundError:
            return "unknown"
        return result.stdout.strip() or "unknown"

    def unavailable(self) -> str | None:
        if missing := self.missing_packages():
            return f"not installed: apt-get install {' '.join(missing)}"
        if not Path("/dev/net/tun").exists():
            return "/dev/net/tun is missing: modprobe tun"
        return None

    def up(self, lab: Lab, a: Host, b: Host) -> Addresses:
        directory = lab.logs / f"{self.name}.etc"
        directory.mkdir(mode=0o700)
        self.connect(directory, a, b)
        for host, address in ((a, ADDRESS_A), (b, ADDRESS_B)):
            self.set_up(host, self.interface, address, self.mtu)
        self.wait_for_packets(a, ADDRESS_B)
        return Addresses(ADDRESS_A, ADDRESS_B)

    def connect(self, directory: Path, a: Host, b: Host) -> None:
        """Start what has to run. ``directory`` is private and empty. Raises LabError."""
        raise NotImplementedError

    def down(self) -> None:
        for process in self._processes:
            process.stop()
        self._processes.clear()

    def start(self, host: Host, command: Sequence[str | os.PathLike[str]], label: str | None = None) -> LabProcess:
        """A daemon in the foreground. Its log is named after the subject."""
        name = f"{self.name}-{label}" if label else self.name
        process = host.start(command, name=name, env={"PATH": SEARCH_PATH})
        self._processes.append(process)
        return process

    def set_up(self, host: Host, interface: str, address: str, mtu: int) -> None:
        """Waits until the interface is there, then gives it address and MTU."""
        wait_for(lambda: self._alive() and interface in host.interfaces(), START_TIMEOUT, f"{interface} of {self.name}")
        host.ip(f"link set {interface} mtu {mtu} up")
        if address not in host.ip(f"-4 address show dev {interface}"):
            host.ip(f"address add {address}/{PREFIX_LENGTH} dev {interface}")

    def wait_for_packets(self, host: Host, address: str) -> None:
        """Full packets too: some find out by themselves how large a packet may be."""

        def answered() -> bool:
            self._alive()
            size = self.mtu - IPV4_UDP  # the header of ICMP has 8 bytes, as that of UDP
            ping = ["ping", "-c", "1", "-W", "1", "-M", "do", "-s", str(size), address]
            return host.run(ping, check=False).returncode == 0

        try:
            wait_for(answered, START_TIMEOUT, f"packets of {self.mtu} bytes over {self.name}", poll=0.1)
        except LabError as error:
            raise LabError(f"{error}\n{self._logs()}") from None

    def _alive(self) -> bool:
        """Raises LabError when a process has ended."""
        for process in self._processes:
            if not process.running:
                raise LabError(f"{self.name}: {process.name} ended with {process.returncode}\n{process.log_text()}")
        return True

    def _logs(self) -> str:
        return "".join(f"--- {process.name} ---\n{process.log_text()[-1000:]}\n" for process in self._processes)


def run(command: Sequence[str | os.PathLike[str]], stdin: str | None = None) -> str:
    """A tool that makes keys; it touches no network. Raises LabError."""
    environment = {**os.environ, "PATH": SEARCH_PATH}
    result = subprocess.run(command, input=stdin, capture_output=True, text=True, env=environment, timeout=60)
    if result.returncode != 0:
        words = " ".join(map(str, command))
        raise LabError(f"{words}: exit status {result.returncode}\n{result.stdout}{result.stderr}")
    return result.stdout
