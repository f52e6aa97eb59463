"""For launch files, of this package and of others.

    from omni_ros2.launch import OnOverlayUp, ganglion

    def generate_launch_description():
        return LaunchDescription([
            ganglion(parameters={"token_file": "/etc/omni/token", "vip4": "10.77.0.1/24"}),
            RegisterEventHandler(OnOverlayUp([Node(package="my_robot", executable="driver")])),
        ])

Needs the packages launch and launch_ros. What fleet.launch.py makes of its arguments: omni_ros2/launch_arguments.py.
"""

from __future__ import annotations

from omni_ros2.launch.bringup import BringUpFailed, ManagedNode, ganglion, nucleus
from omni_ros2.launch.events import OnOverlayUp, OverlayUp

__all__ = ["BringUpFailed", "ManagedNode", "OnOverlayUp", "OverlayUp", "ganglion", "nucleus"]
