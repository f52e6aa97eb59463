"""The fleet view for rqt (docs/rqt.md). ``model`` and ``layout`` need neither Qt nor ROS."""
