"""Profiles for Fast DDS: 3.x (ROS 2 Kilted and later), and 2.6 to 2.14 (Humble, Iron, Jazzy).

``fastdds.max_message_size`` limits what the participant sends. The transport's <maxMessageSize> would do so too, but is
the size of the receive buffer as well: larger messages of robots without this profile would be cut off and lost.
The loopback interface stays in the list, so that nodes of one machine work while the overlay is not there (yet).

By itself Fast DDS repeats its announcements to each participant that it knows, by unicast, which the SPDP cache does
not spare: with ``avoid_builtin_multicast`` false they go by multicast. And the services that look up types, which ROS
does not use, exchanged heartbeats without end; ``fastdds.type_propagation`` turns them off (3.x; unknown to 2.x, which
has none).
"""

from __future__ import annotations

from omni_core.dds.overlay import Overlay
from omni_core.dds.tuning import (
    ANNOUNCEMENT,
    INITIAL_ANNOUNCEMENTS,
    INITIAL_PERIOD,
    LAST_INDEX,
    LEASE,
    RECEIVE_BUFFER,
    SEND_BUFFER,
    STATIC_PEER_RANGE,
)
from omni_core.errors import ConfigError

# Nodes of one machine cut their messages alike, so shared memory gets many small pieces: room for them.
SHM_SEGMENT = 16 << 20  # bytes
SHM_QUEUE = 8192  # messages

_PROFILE = """\
<?xml version="1.0" encoding="UTF-8"?>
<!-- Made by `omni dds` for {interface}: MTU {mtu}, so at most {message} bytes a message. Changes are overwritten. -->
<dds xmlns="http://www.eprosima.com">
  <profiles>
    <transport_descriptors>
      <transport_descriptor>
        <transport_id>omni_udp</transport_id>
        <type>{kind}</type>
        <sendBufferSize>{send_buffer}</sendBufferSize>
        <receiveBufferSize>{receive_buffer}</receiveBufferSize>
        <maxInitialPeersRange>{peers}</maxInitialPeersRange>
        {interfaces}
      </transport_descriptor>
      <transport_descriptor>
        <transport_id>omni_shared_memory</transport_id>
        <type>SHM</type>
        <segment_size>{shm_segment}</segment_size>
        <port_queue_capacity>{shm_queue}</port_queue_capacity>
      </transport_descriptor>
    </transport_descriptors>
    <participant profile_name="omni" is_default_profile="true">
      <rtps>
        <propertiesPolicy>
          <properties>
            <property>
              <name>fastdds.max_message_size</name>
              <value>{message}</value>
            </property>
            <property>
              <name>fastdds.type_propagation</name>
              <value>disabled</value>
            </property>
          </properties>
        </propertiesPolicy>
        <builtin>
          <discovery_config>
            <leaseDuration>{lease}</leaseDuration>
            <leaseAnnouncement>{announcement}</leaseAnnouncement>
            <initialAnnouncements>
              <count>{initial}</count>
              <period>{initial_period}</period>
            </initialAnnouncements>
          </discovery_config>
          <avoid_builtin_multicast>false</avoid_builtin_multicast>
          <mutation_tries>{tries}</mutation_tries>
        </builtin>
        <userTransports>
          <transport_id>omni_udp</transport_id>
          <transport_id>omni_shared_memory</transport_id>
        </userTransports>
        <useBuiltinTransports>false</useBuiltinTransports>
      </rtps>
    </participant>
  </profiles>
</dds>
"""


def fastdds(overlay: Overlay) -> str:
    """For Fast DDS 3.x: interfaces by name, so that addresses may change. 2.14 reads it too."""
    interfaces = (
        f'<interfaces><allowlist><interface name="{overlay.interface}"/><interface name="lo"/></allowlist></interfaces>'
    )
    return _profile(overlay, interfaces)


def fastdds2(overlay: Overlay) -> str:
    """For Fast DDS 2.x, which knows interfaces by address only. Raises ConfigError("vip4") without an address."""
    address = overlay.vip6 if overlay.uses_ipv6 else overlay.vip4
    if address is None:
        raise ConfigError(
            "vip4", "is not known, and Fast DDS 2.x wants an address", "give --vip4, or start the Ganglion first"
        )
    loopback = "::1" if overlay.uses_ipv6 else "127.0.0.1"
    interfaces = f"<interfaceWhiteList><address>{address}</address><address>{loopback}</address></interfaceWhiteList>"
    return _profile(overlay, interfaces)


def _profile(overlay: Overlay, interfaces: str) -> str:
    return _PROFILE.format(
        interface=overlay.interface,
        mtu=overlay.mtu,
        message=overlay.message_size,
        kind="UDPv6" if overlay.uses_ipv6 else "UDPv4",
        send_buffer=SEND_BUFFER,
        receive_buffer=RECEIVE_BUFFER,
        peers=STATIC_PEER_RANGE,
        interfaces=interfaces,
        shm_segment=SHM_SEGMENT,
        shm_queue=SHM_QUEUE,
        lease=_duration(LEASE),
        announcement=_duration(ANNOUNCEMENT),
        initial=INITIAL_ANNOUNCEMENTS,
        initial_period=_duration(INITIAL_PERIOD),
        tries=LAST_INDEX,
    )


def _duration(seconds: float) -> str:
    nanoseconds = round(seconds * 1e9)
    return f"<sec>{nanoseconds // 10**9}</sec><nanosec>{nanoseconds % 10**9}</nanosec>"
