"""What a user may set, as one table per program: TOML, ROS parameters, example files and documentation follow it."""
