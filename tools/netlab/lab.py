"""The lab and its hosts. See the package docstring for the picture."""

from __future__ import annotations

import ipaddress
import os
import secrets
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, TypeAlias

from tools.netlab.capture import Capture
from tools.netlab.ownership import Ownership, clean_stale
from tools.netlab.process import LabError, LabProcess, stop_all, wait_for
from tools.netlab.support import has_ipv6, ip_batch, run_ip, run_tool, unavailable

Handler: TypeAlias = Any  # what signal.signal() returns: a function, an enum member or None

# RFC 2544 and RFC 3849 ranges: never routed on a real network.
UNDERLAY_IPV4 = ipaddress.ip_network("198.18.0.0/16")
UNDERLAY_IPV6 = ipaddress.ip_network("2001:db8::/64")
PRIVATE_MOUNTS = ("/dev/shm", "/run")  # per host: DDS shared memory, and /run/omni
SHUTDOWN_GRACE = 3.0  # s between SIGTERM and SIGKILL when the lab ends

_DEVICE_COUNTERS = tuple(  # columns of /proc/net/dev
    f"{direction}_{field}"
    for direction, fields in (
        ("rx", "bytes packets errors dropped fifo frame compressed multicast"),
        ("tx", "bytes packets errors dropped fifo collisions carrier compressed"),
    )
    for field in fields.split()
)

# The first process of a host keeps its mount and UTS namespaces. No IPv6 duplicate address detection: it takes 2 s, and
# the addresses are ours. A machine-id of its own, because Fast DDS takes participants with equal ones for processes of
# one machine: it then expects shared memory and loopback to reach them, and discovery fails.
_KEEPER = """
set -e
echo 0 > /proc/sys/net/ipv6/conf/default/accept_dad 2>/dev/null || :
echo 0 > /proc/sys/net/ipv6/conf/all/accept_dad 2>/dev/null || :
echo "$1" > /proc/sys/kernel/hostname
if [ -f /etc/machine-id ]; then mount --bind "$2" /etc/machine-id; fi
shift 2
for place in "$@"; do mount -t tmpfs -o mode=1777 omni-lab "$place"; done
echo ready
exec setpriv --pdeathsig KILL -- sleep infinity
"""


class Host:
    """One network namespace, with mounts, a hostname and a machine-id of its own. ``Lab.host`` makes it."""

    def __init__(self, lab: Lab, name: str, namespace: str, ipv4: str | None, ipv6: str | None) -> None:
        self.lab = lab
        self.name = name
        self.namespace = namespace  # as `ip netns` knows it
        self.ipv4 = ipv4  # underlay address without prefix length; None for inner hosts
        self.ipv6 = ipv6
        self.lan_ports: list[str] = []  # this host's ends towards its inner hosts: lan0, lan1 ...
        machine_id = lab.logs / f"{name}.machine-id"
        machine_id.write_text(secrets.token_hex(16) + "\n")
        enter = ["ip", "netns", "exec", namespace, "unshare", "--uts", "sh", "-c", _KEEPER, "keeper"]
        self._keeper = lab._spawn([*enter, name, str(machine_id), *PRIVATE_MOUNTS], f"{name}-keeper", {})
        self._keeper.wait_log("^ready$", timeout=10)
        ip_batch(namespace, "link set lo up\n")

    def start(
        self,
        command: Sequence[str | os.PathLike[str]],
        name: str | None = None,
        env: Mapping[str, str | None] | None = None,
        cwd: Path | None = None,
        stdin: bool = False,
    ) -> LabProcess:
        """Start a process inside; output goes to ``<lab.logs>/<host>-<name>.log``. ``stdin``: for ``process.write``.

        ``env`` is laid over the caller's environment, None removes a variable. The process gets SIGKILL if this one
        dies, so it must be started from the main thread (the kernel ties that to the parent *thread*): else LabError.
        """
        label = name or Path(os.fspath(command[0])).name
        return self.lab._spawn(self._inside(command, cwd), f"{self.name}-{label}", env or {}, stdin)

    def run(
        self,
        command: Sequence[str | os.PathLike[str]],
        timeout: float = 60.0,
        check: bool = True,
        env: Mapping[str, str | None] | None = None,
        cwd: Path | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run a command inside to its end. Raises LabError when it fails (unless ``check`` is off) or hangs."""
        process = subprocess.Popen(
            self._inside(command, cwd),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=merged_environment(env or {}),
            start_new_session=True,
        )
        try:
            out, err = process.communicate(timeout=timeout)
        except BaseException as error:
            os.killpg(process.pid, signal.SIGKILL)
            out, err = process.communicate()
            if isinstance(error, subprocess.TimeoutExpired):
                words = " ".join(map(str, command))
                raise LabError(f"{self.name}: {words}: no end after {timeout:g} s\n{out}{err}") from None
            raise
        if check and process.returncode != 0:
            words = " ".join(map(str, command))
            raise LabError(f"{self.name}: {words}: exit status {process.returncode}\n{out}{err}")
        return subprocess.CompletedProcess(list(command), process.returncode, out, err)

    def ip(self, arguments: str, check: bool = True) -> str:
        """``host.ip("link set eth0 down")``: iproute2 acting on this namespace. Returns its output."""
        return run_ip(["-n", self.namespace, *arguments.split()], check=check).stdout

    def path(self, inside: str) -> Path:
        """A path of this host as the rest of the machine reaches it: ``host.path("/run/omni/omni0.sock")``."""
        return Path(f"/proc/{self._keeper.pid}/root{inside}")

    def interfaces(self) -> list[str]:
        return [line.split()[0].partition("@")[0] for line in self.ip("-br link").splitlines()]

    def counters(self, interface: str) -> dict[str, int]:
        """rx_bytes, rx_packets, tx_dropped ... of an interface. Raises LabError when it is not there."""
        for line in self._proc_net("dev").splitlines()[2:]:
            name, _, values = line.partition(":")
            if name.strip() == interface:
                return dict(zip(_DEVICE_COUNTERS, map(int, values.split()), strict=True))
        raise LabError(f"{self.name} has no interface {interface}")

    def wait_listening(self, port: int, protocol: str = "tcp", timeout: float = 5.0) -> None:
        """Until a local socket is bound to the port (TCP: listens). ``protocol``: "tcp" or "udp". Raises LabTimeout."""

        def bound() -> bool:
            rows = [row.split() for version in ("", "6") for row in self._proc_net(protocol + version).splitlines()[1:]]
            states = {"0A"} if protocol == "tcp" else {"07"}  # include/net/tcp_states.h: LISTEN, CLOSE (= bound UDP)
            return any(int(row[1].rpartition(":")[2], 16) == port and row[3] in states for row in rows)

        wait_for(bound, timeout, f"{protocol} port {port} of {self.name} to be open")

    def shape(self, rate: str, burst: str = "64kb", latency: str = "50ms", interface: str = "eth0") -> None:
        """Limit what the host sends with a token bucket, e.g. ``rate="20mbit"``. Again replaces the limit."""
        qdisc = f"qdisc replace dev {interface} root tbf rate {rate} burst {burst} latency {latency}"
        run_tool(["tc", "-n", self.namespace, *qdisc.split()])

    def cut(self) -> None:
        """Pull the cable: the host's port at the internet goes down, so eth0 loses its carrier."""
        ip_batch(self.lab.internet.namespace, f"link set {self.lab._ports[self.name]} down\n")

    def mend(self) -> None:
        ip_batch(self.lab.internet.namespace, f"link set {self.lab._ports[self.name]} up\n")

    def _proc_net(self, table: str) -> str:
        path = Path(f"/proc/{self._keeper.pid}/net/{table}")  # that process's namespace, readable from outside
        return path.read_text() if path.exists() else ""

    def _inside(self, command: Sequence[str | os.PathLike[str]], cwd: Path | None) -> list[str]:
        enter = ["nsenter", "--target", str(self._keeper.pid), "--mount", "--uts", "--net", "--"]
        change = ["sh", "-c", 'cd "$0" && exec setpriv --pdeathsig KILL -- "$@"', str(cwd or Path.cwd())]
        return [*enter, *change, *(os.fspath(word) for word in command)]


class Lab:
    """Context manager. ``logs``: where process logs and captures go and stay; without it they go with the lab.

    Raises LabError (with the fix) when the machine does not allow labs; ask ``unavailable()`` first to skip a test.
    """

    def __init__(self, name: str = "lab", logs: Path | None = None) -> None:
        if (reason := unavailable()) is not None:
            raise LabError(reason)
        clean_stale()
        self.name = f"omni-{os.getpid()}-{secrets.token_hex(2)}-{name}"
        self.logs = Path(tempfile.mkdtemp(prefix=f"{self.name}-")) if logs is None else logs
        self.logs.mkdir(parents=True, exist_ok=True)
        self.hosts: dict[str, Host] = {}
        self._processes: list[LabProcess] = []
        self._captures = 0
        self._ports: dict[str, str] = {}
        self._old_handlers: dict[signal.Signals, Handler] = {}
        self._ownership = Ownership(self.name, self.logs if logs is None else None)
        self._open = True

    def __enter__(self) -> Lab:
        self._catch_signals()
        try:
            self.internet = self._host("internet", None, None)
            ip_batch(
                self.internet.namespace,
                "link add br0 type bridge stp_state 0 forward_delay 0 mcast_snooping 0\n"
                f"address add {UNDERLAY_IPV4[-2]}/{UNDERLAY_IPV4.prefixlen} dev br0\n"
                + (f"address add {UNDERLAY_IPV6[0xFFFF]}/{UNDERLAY_IPV6.prefixlen} dev br0\n" if has_ipv6() else "")
                + "link set br0 up\n",
            )
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def host(self, name: str, rate: str | None = None, mtu: int = 1500) -> Host:
        """A host on the internet: eth0 with the next addresses, default routes. ``rate`` shapes both ways."""
        number = len(self._ports) + 1
        port = f"p{number}"
        ipv4 = str(UNDERLAY_IPV4[number])
        ipv6 = str(UNDERLAY_IPV6[number]) if has_ipv6() else None
        host = self._host(name, ipv4, ipv6)
        self._ports[name] = port
        ip_batch(
            host.namespace,
            f"link add eth0 mtu {mtu} type veth peer name {port} mtu {mtu} netns {self.internet.namespace}\n"
            f"address add {ipv4}/{UNDERLAY_IPV4.prefixlen} dev eth0\n"
            + (f"address add {ipv6}/{UNDERLAY_IPV6.prefixlen} dev eth0 nodad\n" if ipv6 else "")
            + "link set eth0 up\n"
            + f"route add default via {UNDERLAY_IPV4[-2]}\n"
            + (f"route add default via {UNDERLAY_IPV6[0xFFFF]}\n" if ipv6 else ""),
        )
        ip_batch(self.internet.namespace, f"link set {port} master br0\nlink set {port} up\n")
        if rate is not None:
            host.shape(rate)
            self.internet.shape(rate, interface=port)
        return host

    def port_of(self, host: Host) -> str:
        """Name of the bridge port in ``internet`` that the host's eth0 is connected to."""
        return self._ports[host.name]

    def inner_host(self, behind: Host, name: str, address: str | None = None) -> Host:
        """A host on a cable to ``behind`` only: eth0 here, the next lanN there, up and without an address.

        ``address``: with its prefix length, such as "10.77.0.50/24".
        """
        host = self._host(name, None, None)
        port = f"lan{len(behind.lan_ports)}"
        ip_batch(
            host.namespace,
            f"link add eth0 type veth peer name {port} netns {behind.namespace}\n"
            + (f"address add {address} dev eth0\n" if address else "")
            + "link set eth0 up\n",
        )
        behind.ip(f"link set {port} up")
        behind.lan_ports.append(port)
        return host

    def capture(self) -> Capture:
        """Start writing every frame that enters the internet to ``<logs>/underlay-N.pcap``."""
        path = self.logs / f"underlay-{self._captures}.pcap"
        self._captures += 1
        program = Path(__file__).with_name("capture.py")
        return Capture(self.internet.start([sys.executable, "-B", program, path, "p"], name=path.stem), path)

    def close(self) -> None:
        """Stop processes, remove namespaces and (unless the caller chose their place) logs. Idempotent."""
        if not self._open:
            return
        in_main = threading.current_thread() is threading.main_thread()
        numbers = (signal.SIGINT, signal.SIGTERM) if in_main else ()
        deaf = {number: signal.signal(number, signal.SIG_IGN) for number in numbers}
        try:
            keepers = [host._keeper for host in self.hosts.values()]
            others = [process for process in reversed(self._processes) if process not in keepers]
            stop_all(others, SHUTDOWN_GRACE)
            for process in self._processes:
                process.kill()
            self._ownership.remove()
            self._open = False
        finally:
            for number, handler in [*deaf.items(), *self._old_handlers.items()]:
                signal.signal(number, handler)

    def _host(self, name: str, ipv4: str | None, ipv6: str | None) -> Host:
        if name in self.hosts:
            raise LabError(f"the lab has a host {name} already")
        namespace = f"{self.name}-{name}"
        self._ownership.add_namespace(namespace)
        run_ip(["netns", "add", namespace])
        self.hosts[name] = Host(self, name, namespace, ipv4, ipv6)
        return self.hosts[name]

    def _spawn(
        self, command: Sequence[str], label: str, env: Mapping[str, str | None], stdin: bool = False
    ) -> LabProcess:
        if threading.current_thread() is not threading.main_thread():
            raise LabError("start lab processes from the main thread: they are killed when the starting thread ends")
        log = self.logs / f"{label}.log"
        with open(log, "wb") as output:
            popen = subprocess.Popen(
                command,
                stdin=subprocess.PIPE if stdin else subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=merged_environment(env),
                start_new_session=True,
            )
        process = LabProcess(label, popen, log)
        self._processes.append(process)
        return process

    def _catch_signals(self) -> None:
        """SIGTERM and SIGHUP unwind the stack as Ctrl-C does, unless the caller has handlers of its own."""
        if threading.current_thread() is not threading.main_thread():
            return
        for number in (signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) is signal.SIG_DFL:
                self._old_handlers[number] = signal.signal(number, _leave)


def merged_environment(env: Mapping[str, str | None]) -> dict[str, str]:
    merged: dict[str, str | None] = {**os.environ, **env}
    return {key: value for key, value in merged.items() if value is not None}


def _leave(number: int, _frame: FrameType | None) -> None:
    raise SystemExit(128 + number)
