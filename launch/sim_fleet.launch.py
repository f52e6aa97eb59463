"""A whole fleet on this machine, in network namespaces: a Nucleus and N robots, brought up to sessions. Needs root.

ros2 launch omni_ros2 sim_fleet.launch.py robots:=3
ros2 run omni_ros2 sim_fleet --enter robot1 ros2 topic echo /robot1/ganglion/status     # in a second shell

Everything is removed when the launch ends, however it ends.
"""

from __future__ import annotations

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, Shutdown
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

ENGINES = ["auto", "kernel", "native", "python"]
LEVELS = ["debug", "info", "warn", "error", "fatal"]


def failed(event, context):  # type: ignore[no-untyped-def]
    """Launch exits with 1 when the fleet ended by itself."""
    if event.returncode != 0 and not context.is_shutdown:
        raise RuntimeError("sim_fleet: the fleet ended; its lines above say why")
    return [Shutdown(reason="the fleet ended")]


def generate_launch_description() -> LaunchDescription:
    return LaunchDescription(
        [
            DeclareLaunchArgument("robots", default_value="3", description="how many robots, 1..50"),
            DeclareLaunchArgument("engine", default_value="auto", choices=ENGINES, description="data plane of each"),
            DeclareLaunchArgument(
                "log_level", default_value="info", choices=LEVELS, description="log level of the nodes"
            ),
            Node(
                package="omni_ros2",
                executable="sim_fleet",
                output="screen",
                sigterm_timeout="25",
                arguments=[
                    *("--robots", LaunchConfiguration("robots")),
                    *("--engine", LaunchConfiguration("engine")),
                    *("--log-level", LaunchConfiguration("log_level")),
                ],
                on_exit=failed,
            ),
        ]
    )
