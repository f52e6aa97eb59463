"""Which interface DDS uses: a Fast DDS profile in a file that an environment variable names. Programs stay unmodified.

Applications get what `omni dds --write` makes of the running Ganglion, as a user would (docs/dds.md): without it, DDS
would multicast on every interface, the underlay's too, in clear.

The lifecycle nodes and their clients get 127.0.0.1, and ROS_AUTOMATIC_DISCOVERY_RANGE=SYSTEM_DEFAULT (only the profile
counts). LOCALHOST would add a transport of its own that announces every address of the robot: what is then sent to its
VIP after omni0 is gone leaves by the default route, in clear.

Addresses, not names: interface names are understood from Jazzy on only.
"""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

from tools.netlab import Host

ROOT = Path(__file__).resolve().parents[2]
LOOPBACK = "127.0.0.1"

PROFILE = """<?xml version="1.0" encoding="UTF-8"?>
<dds xmlns="http://www.eprosima.com">
  <profiles>
    <transport_descriptors>
      <transport_descriptor>
        <transport_id>one_interface</transport_id>
        <type>UDPv4</type>
        <interfaceWhiteList><address>{address}</address></interfaceWhiteList>
      </transport_descriptor>
      <transport_descriptor>
        <transport_id>shared_memory</transport_id>
        <type>SHM</type>
      </transport_descriptor>
    </transport_descriptors>
    <participant profile_name="one_interface" is_default_profile="true">
      <rtps>
        <userTransports>
          <transport_id>one_interface</transport_id>
          <transport_id>shared_memory</transport_id>
        </userTransports>
        <useBuiltinTransports>false</useBuiltinTransports>
      </rtps>
    </participant>
  </profiles>
</dds>
"""


def write_profile(path: Path, address: str) -> Path:
    """UDP on ``address`` only, and shared memory within the robot."""
    path.write_text(PROFILE.format(address=address))
    return path


def overlay_variables(host: Host, directory: Path) -> dict[str, str]:
    """The profile for the overlay of a robot whose Ganglion runs, written into ``directory``; what to export."""
    command = [sys.executable, "-B", "-m", "omni_core.cli", "dds", "--rmw", "fastdds", "--write", directory]
    lines = host.run(command, cwd=ROOT).stdout.splitlines()
    return dict(shlex.split(line)[1].split("=", 1) for line in lines)
