"""The fleet view for rqt: `rqt --standalone omni_ros2.rqt.plugin.FleetPlugin`. ``model`` and ``layout`` need neither Qt nor ROS."""
