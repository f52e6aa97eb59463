"""The process around a node: signals, executor, log, exit code.

rclpy's own signal handlers end the context, and with it the state machine, before a node could clean up. So they stay
off: the executor spins in a thread, and this one waits for SIGINT, SIGTERM or SIGHUP and then stops the node properly.
"""

from __future__ import annotations

import logging
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from typing import Any

import rclpy
from rclpy.executors import ExternalShutdownException, ShutdownException, SingleThreadedExecutor
from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.signals import SignalHandlerOptions

from omni_ros2.managed import ManagedNode

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
EXIT_OK, EXIT_FAILED, EXIT_USAGE = 0, 1, 2


def run(make_node: Callable[[], ManagedNode[Any]], args: Sequence[str] | None = None) -> int:
    """Until a signal. Returns the process's exit code: 0 after a clean stop."""
    stopping = threading.Event()
    hurried = threading.Event()  # by a second signal
    for number in SIGNALS:
        signal.signal(number, lambda *_: (hurried if stopping.is_set() else stopping).set())
    try:
        rclpy.init(args=args, signal_handler_options=SignalHandlerOptions.NO)
        node = make_node()
    except (rclpy_implementation.RCLError, rclpy_implementation.UnknownROSArgsError) as error:
        print(f"cannot start: {' '.join(str(error).split())}", file=sys.stderr)
        rclpy.try_shutdown()
        return EXIT_USAGE
    handler = _RosLogHandler(node)
    logger = logging.getLogger("omni_core")
    logger.setLevel(int(node.get_logger().get_effective_level()))
    logger.addHandler(handler)
    try:
        return _spin(node, stopping, hurried)
    finally:
        logger.removeHandler(handler)
        node.destroy_node()
        rclpy.try_shutdown()


def _spin(node: ManagedNode[Any], stopping: threading.Event, hurried: threading.Event) -> int:
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    failed = threading.Event()

    def spin() -> None:
        try:
            executor.spin()
        except (ExternalShutdownException, ShutdownException):
            pass
        except BaseException as error:
            node.get_logger().fatal(f"the executor ended, which is a bug: {type(error).__name__}: {error}")
            failed.set()
        finally:
            stopping.set()

    if node.autostart:
        executor.create_task(node.start)
    spinner = threading.Thread(target=spin, name="executor")
    spinner.start()
    stopping.wait()
    if spinner.is_alive():
        stopped = threading.Event()
        executor.create_task(node.stop).add_done_callback(lambda _: stopped.set())
        while not stopped.wait(0.1) and spinner.is_alive():
            if hurried.is_set():
                node.hurry()
        executor.shutdown()
        spinner.join()
    else:
        node.stop()
    return EXIT_FAILED if failed.is_set() else EXIT_OK


class _RosLogHandler(logging.Handler):
    """Log lines of omni_core go where ROS's go: console, file and /rosout."""

    def __init__(self, node: ManagedNode[Any]) -> None:
        super().__init__()
        self._logger = node.get_logger()

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        # rclpy ties a severity to the line of the call.
        if record.levelno >= logging.ERROR:
            self._logger.error(text)
        elif record.levelno >= logging.WARNING:
            self._logger.warning(text)
        elif record.levelno >= logging.INFO:
            self._logger.info(text)
        else:
            self._logger.debug(text)
