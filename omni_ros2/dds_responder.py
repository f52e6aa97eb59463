"""The process beside the Ganglion's node that is bound to the overlay: it answers DDS checks (dds_probe.py) and
publishes the robot's status there (fleet_topic.py). One of its own, because DDS looks at the interfaces once."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from typing import Any

from omni_core.dds.profiles import DISCOVERY_RANGE, PROFILE_VARIABLES, RMW_VARIABLE
from omni_core.errors import ConfigError
from omni_core.io.dds_files import write_environment
from omni_ros2.fleet_topic import frame

logger = logging.getLogger("omni_core.dds_responder")

END_TIMEOUT = 2.0  # s


class DdsResponder:
    """At most one process. It ends by itself when this one dies: its standard input does."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._directory: tempfile.TemporaryDirectory[str] | None = None
        self._pipe: int | None = None  # file descriptor
        self._rest = b""  # of a message that the pipe took a part of

    def start(self, status: Mapping[str, Any], *, answers: bool = True, fleet: bool = True) -> None:
        """``status``: as the admin socket has it. ``answers`` checks, publishes for the ``fleet``. No-op while there is
        one, also one that has ended."""
        if self._process is not None:
            return
        command = [sys.executable, "-m", "omni_ros2.dds_probe", "echo", "--until-eof"]
        command += ["--vip6", status["vip6"], "--interface", status["interface"]]
        command += ["--fleet"] if fleet else []
        command += [] if answers else ["--silent"]
        try:
            self._process = subprocess.Popen(
                command,
                env=self._environment(status),
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                start_new_session=True,  # a Ctrl-C is for this process, which then ends it
            )
        except OSError as error:
            logger.warning("DDS checks of others are not answered, /omni/fleet is silent: %s", error)
            return
        if fleet:
            assert self._process.stdin is not None
            self._pipe = self._process.stdin.fileno()
            os.set_blocking(self._pipe, False)

    @property
    def publishes(self) -> bool:
        return self._pipe is not None

    def publish(self, message: bytes) -> None:
        """A status, serialized. Dropped when there is no process, or it is slow: the next one says more."""
        if self._pipe is None:
            return
        self._rest += frame(message) if not self._rest else b""
        try:
            self._rest = self._rest[os.write(self._pipe, self._rest) :]
        except BlockingIOError:
            pass
        except OSError:  # it has ended
            self._pipe = None

    def stop(self) -> None:
        """Idempotent."""
        process, self._process = self._process, None
        self._pipe, self._rest = None, b""
        if process is not None:
            assert process.stdin is not None
            process.stdin.close()
            try:
                process.wait(END_TIMEOUT)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if self._directory is not None:
            self._directory.cleanup()
            self._directory = None

    def _environment(self, status: Mapping[str, Any]) -> dict[str, str]:
        """Bound to the overlay, unless there is a profile already."""
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
        if not any(environment.get(name) for name in PROFILE_VARIABLES.values()):
            self._directory = tempfile.TemporaryDirectory(prefix="omni-dds-")
            rmw = environment.get(RMW_VARIABLE) or "rmw_fastrtps_cpp"
            try:
                environment.update(write_environment(status, rmw, self._directory.name))
                if (
                    environment.get(DISCOVERY_RANGE) == "LOCALHOST"
                ):  # of the node beside; this process is for the overlay
                    environment[DISCOVERY_RANGE] = "SUBNET"
            except ConfigError as error:  # an RMW without a profile, or no address for one
                logger.info("the responder of DDS checks has no profile: %s", error)
        return environment
