"""The process that answers DDS checks beside the Ganglion's node: see dds_probe.py for why it is one of its own."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from typing import Any

from omni_core.dds.profiles import PROFILE_VARIABLES, RMW_VARIABLE
from omni_core.errors import ConfigError
from omni_core.io.dds_files import write_environment

logger = logging.getLogger("omni_core.dds_responder")

END_TIMEOUT = 2.0  # s


class DdsResponder:
    """At most one process. It ends by itself when this one dies: its standard input does."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._directory: tempfile.TemporaryDirectory[str] | None = None

    def start(self, status: Mapping[str, Any]) -> None:
        """``status``: as the admin socket has it. No-op while there is one, also one that has ended."""
        if self._process is not None:
            return
        command = [sys.executable, "-m", "omni_ros2.dds_probe", "echo", "--until-eof"]
        command += ["--vip6", status["vip6"], "--interface", status["interface"]]
        try:
            self._process = subprocess.Popen(
                command,
                env=self._environment(status),
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                start_new_session=True,  # a Ctrl-C is for this process, which then ends it
            )
        except OSError as error:
            logger.warning("DDS checks of others are not answered: %s", error)

    def stop(self) -> None:
        """Idempotent."""
        process, self._process = self._process, None
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
            except ConfigError as error:  # an RMW without a profile, or no address for one
                logger.info("the responder of DDS checks has no profile: %s", error)
        return environment
