"""Brings this machine's Ganglion, a Nucleus, or both up to *active*, and binds DDS to the overlay.

ros2 launch omni_ros2 fleet.launch.py config:=/etc/omni/ganglion.yaml
ros2 launch omni_ros2 fleet.launch.py token:=/etc/omni/token vip:=10.77.0.1/24 then:=/path/robot.launch.xml
ros2 launch omni_ros2 fleet.launch.py role:=nucleus config:=/etc/omni/nucleus.yaml

docs/launch.md says more; ``ros2 launch omni_ros2 fleet.launch.py --show-args`` lists the arguments.
"""

from __future__ import annotations

import os

from launch import LaunchContext, LaunchDescription, LaunchDescriptionEntity
from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription, OpaqueFunction, RegisterEventHandler
from launch.launch_description_sources import AnyLaunchDescriptionSource

from omni_core.errors import ConfigError
from omni_ros2.launch import OnOverlayUp, ganglion, nucleus
from omni_ros2.launch_arguments import ARGUMENTS, ROLES, chosen_middleware, node_parameters


def chosen_nodes(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    values = {argument.name: context.launch_configurations[argument.name] for argument in ARGUMENTS}
    try:
        parameters = {role: node_parameters(role, values) for role in ROLES[values["role"]]}
    except ConfigError as error:
        raise RuntimeError(f"fleet.launch.py: {error}") from None
    options = {
        "namespace": values["namespace"],
        "autostart": values["autostart"] == "true",
        "on_failure": values["on_failure"],
        "respawn": values["respawn"] == "true",
        "discovery": values["discovery"],
        "arguments": ["--ros-args", "--log-level", values["log_level"]],
    }
    actions: list[LaunchDescriptionEntity] = []
    if values["then"]:
        included = IncludeLaunchDescription(AnyLaunchDescriptionSource(os.path.abspath(values["then"])))
        actions.append(RegisterEventHandler(OnOverlayUp([included])))
    for role in parameters:
        if role == "nucleus":
            actions.append(nucleus(parameters=parameters[role], **options))
        else:
            dds = chosen_middleware(values["dds"], context.environment)
            actions.append(ganglion(parameters=parameters[role], dds=dds, **options))
    return actions


def generate_launch_description() -> LaunchDescription:
    return LaunchDescription(
        [
            *(
                DeclareLaunchArgument(
                    argument.name,
                    default_value=argument.default,
                    choices=list(argument.choices) if argument.choices else None,
                    description=argument.description,
                )
                for argument in ARGUMENTS
            ),
            OpaqueFunction(function=chosen_nodes),
        ]
    )
