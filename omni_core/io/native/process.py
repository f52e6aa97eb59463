"""The engine's process: started, adopted, ended. Blocking: call from a worker thread.

It has only the descriptors that it was started with and a session of its own (setsid), and listens on
``<run_dir>/<interface>.native.sock``, which root alone may reach. So it outlives the Ganglion, and the next one finds
it. Which process it is the kernel says (SO_PEERCRED), never a name.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import signal
import socket
import struct
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from omni_core.errors import ConfigError, OmniError, SystemRefused
from omni_core.io.native.binary import NAME, build_of, native_binary
from omni_core.io.native.client import TIMEOUT, EngineGone, NativeClient
from omni_core.io.native.protocol import Mode

_WORKERS_MAX = 8  # more are of no use to one robot
_START_TIME = 10.0  # s until it answers; a loaded machine
_END_TIME = 2.0  # s until it has ended; then it is killed
_LAST_MOMENT = 0.1  # s; the same for one that does not answer
_BACKLOG = 8
_CREDENTIALS = struct.Struct("3i")  # struct ucred: pid, uid, gid
_START_TIME_FIELD = 22 - 3  # of /proc/<pid>/stat, behind the name
_FIX = "see dmesg, or use another engine"


def worker_count() -> int:
    """As many as this process may use CPUs."""
    return min(len(os.sched_getaffinity(0)), _WORKERS_MAX)


def socket_path(run_dir: str, interface: str) -> str:
    return f"{run_dir}/{interface}.native.sock"


class NativeProcess:
    """A living engine and our connection to it. ``start`` and ``adopt`` make one."""

    def __init__(
        self, path: str, client: NativeClient, pid: int, pidfd: int, child: subprocess.Popen[bytes] | None = None
    ) -> None:
        """``child``: when it is ours, to be waited for."""
        self.path = path
        self.client = client
        self.pid = pid
        self._pidfd = pidfd
        self._child = child

    @classmethod
    def start(
        cls,
        path: str,
        *,
        name: str,
        mode: Mode,
        taps: Sequence[int],
        sockets: Sequence[int],
        maps: Mapping[str, int] | None = None,
        merge: bool = True,
    ) -> NativeProcess:
        """A new engine that listens at ``path``, where none does. Its workers are as many as ``taps``.

        All are descriptors, which stay the caller's, who closes them: ``taps`` queues, ``sockets`` as UdpPort.share
        gives them, ``maps`` of the kernel in mode bulk, by option. Raises ConfigError or SystemRefused.
        """
        command = [str(native_binary()), "--name", name, "--mode", mode.name.lower()]
        command += ["--workers", str(len(taps)), "--merge", str(int(merge))]
        with _listen(path) as listener:
            given = {"listen": [listener.fileno()], "taps": taps, "sockets": sockets}
            given |= {option: [fd] for option, fd in (maps or {}).items()}
            for option, fds in given.items():
                command += [f"--{option}", ",".join(map(str, fds))]
            try:
                child = _spawn(command, [fd for fds in given.values() for fd in fds])
            except OSError as error:
                remove_socket(path)
                raise SystemRefused(NAME, f"it cannot be started ({error.strerror})", _FIX) from None
        try:
            client = _greet(path, child)
            try:
                return cls(path, client, child.pid, _open_pidfd(child.pid), child)
            except BaseException:
                client.close()
                raise
        except BaseException:
            child.kill()
            child.wait()
            remove_socket(path)
            raise
        finally:
            assert child.stderr is not None
            child.stderr.close()

    @classmethod
    def adopt(cls, path: str, mode: Mode) -> NativeProcess:
        """The living engine at ``path``, of the build that is installed here. Raises SystemRefused with the reason."""
        build = build_of(native_binary())
        client = NativeClient.connect(path)
        try:
            if client.hello.build != build or client.hello.mode != mode:
                raise SystemRefused(NAME, "the engine that runs is of another build", "start it anew")
            pid = peer_pid(client)
            return cls(path, client, pid, _open_pidfd(pid))
        except BaseException:
            client.close()
            raise

    @property
    def started(self) -> int:
        """Tells the process from a later one of the same pid."""
        return start_time(self.pid)

    def leave(self) -> None:
        """It goes on without us. Idempotent."""
        self.client.close()
        self._forget()

    def stop(self) -> None:
        """It wipes its keys and ends, in order or else by force, and its socket is removed. Idempotent."""
        if self._pidfd >= 0:
            _stop(self.client, self._pidfd)
            remove_socket(self.path)
        self._forget()

    def _forget(self) -> None:
        if self._child is not None:
            self._child.poll()
        if self._pidfd >= 0:
            os.close(self._pidfd)
            self._pidfd = -1


def lives(path: str) -> bool:
    """Whether an engine listens at ``path``. Only for the owner of the interface: it takes the engine's connection."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC) as probe:
        probe.settimeout(TIMEOUT)
        try:
            probe.connect(path)
        except OSError:
            return False
    return True


def stop_left(path: str, pid: int, started: int) -> None:
    """End the engine that an earlier process has started, if it lives. ``pid``, ``started``: 0 where not known.

    Who listens at ``path`` is it, whatever its pid was; where nobody does, the process that has them.
    """
    with contextlib.suppress(OmniError):
        client = NativeClient.connect(path)
        with contextlib.closing(client):
            pidfd = _open_pidfd(peer_pid(client))
            try:
                _stop(client, pidfd)
            finally:
                os.close(pidfd)
    if pid and started:
        with contextlib.suppress(SystemRefused):
            pidfd = _open_pidfd(pid)
            try:
                if start_time(pid) == started:  # asked while we hold it: nobody else can have the pid
                    _end(pidfd, 0.0)
            finally:
                os.close(pidfd)
    remove_socket(path)


def peer_pid(client: NativeClient) -> int:
    """Of the process that listens. Kernel and engine have to agree: what the engine says alone may be a lie, and the
    kernel means the Ganglion that made the socket until the engine has called listen(2) too. Raises SystemRefused."""
    pid: int = _CREDENTIALS.unpack(client.peer_credentials(_CREDENTIALS.size))[0]
    if pid != client.hello.pid:
        raise SystemRefused(NAME, "the engine that runs cannot be told from others", "stop it by hand")
    return pid


def start_time(pid: int) -> int:
    """In ticks since boot; 0 when there is no such process."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return 0
    return int(text.rpartition(")")[2].split()[_START_TIME_FIELD])


def remove_socket(path: str) -> None:
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)


def _listen(path: str) -> socket.socket:
    """For root alone. Raises ConfigError("run_dir")."""
    remove_socket(path)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
    try:
        os.fchmod(listener.fileno(), 0o600)  # becomes that of the file
        listener.bind(path)
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        reason = error.strerror or str(error)
        raise ConfigError("run_dir", f"{path}: no socket can be made there ({reason})", "name a shorter path") from None
    return listener


def _spawn(command: Sequence[str], fds: Sequence[int]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        pass_fds=fds,
        start_new_session=True,
        cwd="/",
    )


def _greet(path: str, child: subprocess.Popen[bytes]) -> NativeClient:
    """Until it has answered. What it had to complain about raises SystemRefused."""
    try:
        client = NativeClient.connect(path, _START_TIME)
    except EngineGone as gone:
        child.kill()
        assert child.stderr is not None
        said = child.stderr.read().decode("utf-8", "replace").strip().splitlines()
        problem = said[-1].removeprefix(f"{NAME}: ") if said else gone.problem if gone.silent else "it ended at once"
        raise SystemRefused(NAME, problem, _FIX) from None
    client.timeout = TIMEOUT
    return client


def _open_pidfd(pid: int) -> int:
    try:
        return os.pidfd_open(pid)
    except OSError as error:
        problem = "it has ended" if error.errno == errno.ESRCH else f"it cannot be watched ({error.strerror})"
        raise SystemRefused(NAME, problem, _FIX) from None


def _stop(client: NativeClient, pidfd: int) -> None:
    patience = _END_TIME
    try:
        client.stop()
    except SystemRefused:
        patience = _LAST_MOMENT  # it is ending, or it does not listen
    _end(pidfd, patience)


def _end(pidfd: int, patience: float) -> None:
    """Wait for its end, and after ``patience`` s see to it."""
    ended = select.poll()
    ended.register(pidfd, select.POLLIN)
    if not ended.poll(patience * 1000):
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        ended.poll()
