"""`ros2 omni ...`, and what `ros2 doctor` says about the overlay: omni_core.cli behind the plugins of ros2cli."""
