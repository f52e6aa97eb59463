"""Brings this machine's Ganglion, a Nucleus, or both up to *active*.

ros2 launch omni_ros2 fleet.launch.py params_file:=/etc/omni/ganglion.yaml
ros2 launch omni_ros2 fleet.launch.py ganglion:=false nucleus:=true params_file:=/etc/omni/nucleus.yaml
"""

from __future__ import annotations

from launch import LaunchContext, LaunchDescription, LaunchDescriptionEntity
from launch.actions import DeclareLaunchArgument, EmitEvent, OpaqueFunction, RegisterEventHandler
from launch.event_handlers import OnProcessStart
from launch.events import matches_action
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import LifecycleNode
from launch_ros.event_handlers import OnStateTransition
from launch_ros.events.lifecycle import ChangeState
from lifecycle_msgs.msg import Transition

NODES = ("ganglion", "nucleus")
ARGUMENTS = (
    ("ganglion", "true", ["true", "false"], "start a Ganglion: this machine becomes an edge of the overlay"),
    ("nucleus", "false", ["true", "false"], "start a Nucleus: this machine becomes a rendezvous server"),
    ("namespace", "", None, "ROS namespace of the nodes"),
    ("params_file", "", None, "YAML file with the nodes' parameters; empty: their defaults"),
    ("log_level", "info", ["debug", "info", "warn", "error", "fatal"], "log level of the nodes"),
)


def managed_node(context: LaunchContext, name: str) -> list[LaunchDescriptionEntity]:
    """The node, and what takes it from unconfigured through inactive to active.

    A transition that fails ends there: the node has logged the field and the fix, and waits to be configured again.
    """
    params_file = context.launch_configurations["params_file"]
    node = LifecycleNode(
        package="omni_ros2",
        executable=name,
        name=name,
        namespace=context.launch_configurations["namespace"],
        parameters=[params_file] if params_file else [],
        arguments=["--ros-args", "--log-level", LaunchConfiguration("log_level")],
        output="screen",
    )

    def request(transition: int) -> EmitEvent:
        return EmitEvent(event=ChangeState(lifecycle_node_matcher=matches_action(node), transition_id=transition))

    return [
        # Handlers before the node: an event that comes before its handler is lost.
        RegisterEventHandler(OnProcessStart(target_action=node, on_start=[request(Transition.TRANSITION_CONFIGURE)])),
        RegisterEventHandler(
            OnStateTransition(
                target_lifecycle_node=node,
                start_state="configuring",
                goal_state="inactive",
                entities=[request(Transition.TRANSITION_ACTIVATE)],
            )
        ),
        node,
    ]


def chosen_nodes(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    return [e for name in NODES if context.launch_configurations[name] == "true" for e in managed_node(context, name)]


def generate_launch_description() -> LaunchDescription:
    return LaunchDescription(
        [
            *(
                DeclareLaunchArgument(name, default_value=default, choices=choices, description=description)
                for name, default, choices, description in ARGUMENTS
            ),
            OpaqueFunction(function=chosen_nodes),
        ]
    )
