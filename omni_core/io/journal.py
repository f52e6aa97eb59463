"""What a Ganglion made or changed on this machine, written down before it is done, so that a killed one can be undone.

    <run_dir>/<interface>.lock   held (flock) by the living owner; says its pid
    <run_dir>/<interface>.json   steps in the order they were made; undone in reverse

A journal of another boot, or of another network namespace, describes things that do not exist here: it is dropped.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import threading
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import TypeAlias

from omni_core.errors import ConfigError
from omni_core.io.files import make_directory, write_atomic

logger = logging.getLogger(__name__)

_FORMAT = 1


@dataclass(frozen=True)
class MadeLink:
    """A TAP, a veth or a bridge of ours. Its MAC, which hashes our key, or its alias tells it from another's device."""

    name: str
    mac: str


@dataclass(frozen=True)
class MadePort:
    """An interface that was not ours became a port of a bridge."""

    name: str
    bridge: str
    was_up: bool


@dataclass(frozen=True)
class AddedAddress:
    """An address of ours on an interface that is not ours."""

    device: str
    address: str  # with prefix length


@dataclass(frozen=True)
class MovedAddress:
    """An address that was not ours went from a port to the bridge. ``address`` as in netlink.SetAddress."""

    port: str
    address: str
    broadcast: str | None
    label: str | None
    flags: int


@dataclass(frozen=True)
class MovedRoute:
    """The same of a route. Fields as in netlink.Route."""

    port: str
    destination: str
    gateway: str | None
    source: str | None
    table: int
    protocol: int
    scope: int
    priority: int | None


@dataclass(frozen=True)
class PinnedPrograms:
    """BPF programs and maps in a directory of a bpffs, which may have been mounted for it."""

    directory: str


@dataclass(frozen=True)
class AttachedPrograms:
    """BPF programs that may be on any interface as XDP programs. The kernel's ids of a boot are not used twice."""

    ids: list[int]


@dataclass(frozen=True)
class SynapseRuns:
    """Everything that the engine in the kernel needs is in place; what the next process must agree with to adopt it."""

    build: str  # hash of the programs
    public_key: str
    port: int  # UDP
    bridge: str
    addresses: list[str]
    mtu: int  # of the overlay interface
    xdp_mode: list[str]


@dataclass(frozen=True)
class StartedEngine:
    """A process of the native engine. ``pid`` and ``started``, ticks since boot, are 0 until they are known."""

    socket: str  # where it listens
    pid: int
    started: int


@dataclass(frozen=True)
class NativeRuns:
    """The native engine alone has all that it needs; what the next process must agree with to adopt it."""

    build: str  # of the engine
    workers: int
    public_key: str
    port: int  # UDP
    listen_address: list[str]
    bridge: str
    addresses: list[str]
    mtu: int  # of the overlay interface
    reason: str  # why not the engine in the kernel; nothing to agree with


@dataclass(frozen=True)
class ChangedSetting:
    """A kernel setting (sysctl) of the machine or of its network namespace."""

    key: str  # with dots
    was: int
    now: int


Step: TypeAlias = (
    "MadeLink | MadePort | AddedAddress | MovedAddress | MovedRoute | PinnedPrograms | AttachedPrograms | SynapseRuns"
    " | StartedEngine | NativeRuns | ChangedSetting"
)
_KINDS: dict[str, type[Step]] = {
    kind.__name__: kind
    for kind in (
        MadeLink,
        MadePort,
        AddedAddress,
        MovedAddress,
        MovedRoute,
        PinnedPrograms,
        AttachedPrograms,
        SynapseRuns,
        StartedEngine,
        NativeRuns,
        ChangedSetting,
    )
}


class Journal:
    """Steps on disk. Every ``add`` is on disk when it returns."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._steps: list[Step] = []
        self._writing = threading.RLock()  # an engine may be started, in a thread, while an address is changed

    @property
    def steps(self) -> list[Step]:
        return list(self._steps)

    def add(self, *steps: Step) -> None:
        """Raises ConfigError("run_dir") when it cannot be written; then the steps must not be made."""
        if steps:
            self.update(lambda made: [*made, *steps])

    def update(self, change: Callable[[list[Step]], Sequence[Step]]) -> None:
        """What ``change`` makes of the steps, with nobody in between. Raises ConfigError("run_dir")."""
        with self._writing:
            self.replace(change(self.steps))

    def replace(self, steps: Sequence[Step]) -> None:
        """Only these are left. None: the file goes. Raises ConfigError("run_dir")."""
        with self._writing:
            if steps:
                self._write(list(steps))
                return
            self._steps = []
            try:
                os.unlink(self.path)
            except FileNotFoundError:
                pass

    def _write(self, steps: list[Step]) -> None:
        content = {
            "format": _FORMAT,
            "pid": os.getpid(),
            **_place(),
            "steps": [{"kind": type(step).__name__, **asdict(step)} for step in steps],
        }
        try:
            write_atomic(self.path, json.dumps(content, indent=1) + "\n")
        except OSError as error:
            raise ConfigError(
                "run_dir", f"{self.path} cannot be written ({error.strerror})", "name a directory that root may write"
            ) from None
        self._steps = steps

    def load(self) -> list[Step]:
        """Take over what an earlier process left. A journal that cannot be read is reported and dropped."""
        try:
            with open(self.path, encoding="utf-8") as file:
                content = json.load(file)
            here = {key: content[key] for key in _place()} == _place()
            steps = [_KINDS[entry.pop("kind")](**entry) for entry in content["steps"]]
        except FileNotFoundError:
            return []
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            logger.warning("the journal %s is unreadable and ignored: %s", self.path, error)
            return []
        self._steps = steps if here and content.get("format") == _FORMAT else []
        return self.steps


class InterfaceLock:
    """One living owner per interface name and run_dir. The kernel lets go of it when the process dies."""

    def __init__(self, run_dir: str, name: str) -> None:
        """Raises ConfigError: "interface" when another process has it, "run_dir" when it cannot be made."""
        make_directory(run_dir, "run_dir")
        self._path = lock_path(run_dir, name)
        while True:
            self._fd = self._open(name)
            if self._is_current():
                break
            os.close(self._fd)  # its owner removed the file between our open and our lock
        os.ftruncate(self._fd, 0)
        os.write(self._fd, f"{os.getpid()}\n".encode())

    def close(self) -> None:
        """Idempotent. Removes the file while it is still locked; who waits for it notices."""
        if self._fd >= 0:
            os.unlink(self._path)
            os.close(self._fd)
            self._fd = -1

    def _open(self, name: str) -> int:
        try:
            fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            raise ConfigError(
                "run_dir", f"{self._path} cannot be opened ({error.strerror})", "name a directory that root may write"
            ) from None
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            owner = os.read(fd, 32).decode("ascii", "replace").strip() or "unknown"
            os.close(fd)
            raise ConfigError(
                "interface",
                f"{name} is in use by another Ganglion (pid {owner}, {self._path})",
                "stop that one, or choose another interface name or run_dir",
            ) from None
        return fd

    def _is_current(self) -> bool:
        try:
            return os.path.samestat(os.fstat(self._fd), os.stat(self._path))
        except FileNotFoundError:
            return False


def lock_path(run_dir: str, name: str) -> str:
    """The file that is there as long as the Ganglion of an interface, or somebody has killed it."""
    return os.path.join(run_dir, f"{name}.lock")


def _place() -> dict[str, object]:
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as file:
        boot = file.read().strip()
    return {"boot": boot, "netns": os.stat("/proc/thread-self/ns/net").st_ino}
