"""Brings a lifecycle node through transitions by its services, as `ros2 lifecycle set` does, where ros2cli is missing.

    lifecycle.py NODE TIMEOUT       reads transitions: configure, activate, deactivate, cleanup, shutdown; one a line

Prints "<transition>: <state reached>" for each. Exit status 1 with a sentence when the node does not answer within
TIMEOUT seconds or refuses. One client for all transitions, because Fast DDS takes up to 3 s to find a node.
"""

from __future__ import annotations

import sys
import time
from typing import Any

import rclpy
from lifecycle_msgs.msg import State, Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rclpy.node import Node

SHUTDOWN = {
    State.PRIMARY_STATE_UNCONFIGURED: Transition.TRANSITION_UNCONFIGURED_SHUTDOWN,
    State.PRIMARY_STATE_INACTIVE: Transition.TRANSITION_INACTIVE_SHUTDOWN,
    State.PRIMARY_STATE_ACTIVE: Transition.TRANSITION_ACTIVE_SHUTDOWN,
}
TRANSITIONS = {
    "configure": Transition.TRANSITION_CONFIGURE,
    "activate": Transition.TRANSITION_ACTIVATE,
    "deactivate": Transition.TRANSITION_DEACTIVATE,
    "cleanup": Transition.TRANSITION_CLEANUP,
}


class Refused(Exception):
    """The node did not answer, or not as asked."""


class Lifecycle:
    """Client of one lifecycle node. ``timeout``: s for one transition."""

    def __init__(self, node: Node, target: str, timeout: float) -> None:
        self._node = node
        self._target = target
        self._timeout = timeout
        self._deadline = 0.0  # of the transition under way, time.monotonic()
        self._change = node.create_client(ChangeState, f"{target}/change_state")
        self._get = node.create_client(GetState, f"{target}/get_state")

    def _state(self) -> Any:
        return self._call(self._get, GetState.Request()).current_state

    def go(self, name: str) -> str:
        """Make one transition; returns the label of the state reached. Raises Refused."""
        self._deadline = time.monotonic() + self._timeout
        before = self._state()
        number = SHUTDOWN.get(before.id) if name == "shutdown" else TRANSITIONS[name]
        if number is None:
            raise Refused(f"{self._target} is {before.label}: it cannot {name}")
        answer = self._call(self._change, ChangeState.Request(transition=Transition(id=number)))
        after = self._state().label
        if not answer.success:
            raise Refused(f"{self._target} refused to {name}: it was {before.label}, it is {after}")
        return str(after)

    def _call(self, client: Any, request: Any) -> Any:
        if not client.wait_for_service(timeout_sec=max(0.0, self._deadline - time.monotonic())):
            raise Refused(f"nobody offers {client.srv_name}: is {self._target} running?")
        future = client.call_async(request)
        rclpy.spin_until_future_complete(self._node, future, timeout_sec=max(0.0, self._deadline - time.monotonic()))
        if not future.done():
            raise Refused(f"{client.srv_name} did not answer in time")
        return future.result()


def main(target: str, timeout: str) -> int:
    rclpy.init()
    node = rclpy.create_node("lifecycle_client")
    try:
        lifecycle = Lifecycle(node, target, float(timeout))
        for line in sys.stdin:
            name = line.strip()
            print(f"{name}: {lifecycle.go(name)}", flush=True)
    except Refused as refusal:
        print(refusal, file=sys.stderr)
        return 1
    finally:
        node.destroy_node()
        rclpy.try_shutdown()
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
