"""omni_core: an encrypted peer-to-peer Ethernet, as Sans-IO engines and their drivers.

Nothing in this package imports ROS. See ARCHITECTURE.md for the layers.
"""
