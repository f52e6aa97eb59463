"""The configuration for Cyclone DDS 0.10 (Humble to Kilted) and 11.

rmw_cyclonedds_cpp puts its own settings before this one (MaxAutoParticipantIndex 32 among them), and the last one wins.
"""

from __future__ import annotations

from omni_core.dds.overlay import Overlay
from omni_core.dds.sizes import fragment_size
from omni_core.dds.tuning import ANNOUNCEMENT, LAST_INDEX, LEASE, RECEIVE_BUFFER, SEND_BUFFER

_PROFILE = """\
<?xml version="1.0" encoding="UTF-8"?>
<!-- Made by `omni dds` for {interface}: MTU {mtu}, so at most {message} bytes a message. Changes are overwritten. -->
<CycloneDDS xmlns="https://cdds.io/config">
  <Domain Id="any">
    <General>
      <Interfaces>
        <NetworkInterface name="{interface}" presence_required="false" multicast="true"/>
        <!-- For nodes of this machine, also while the other is not there: with no interface DDS does not start. -->
        <NetworkInterface name="lo" presence_required="false" multicast="true"/>
      </Interfaces>
      <Transport>{transport}</Transport>
      <!-- Discovery only: data to several robots would otherwise be sprayed to all of them. -->
      <AllowMulticast>spdp</AllowMulticast>
      <MaxMessageSize>{message} B</MaxMessageSize>
      <MaxRexmitMessageSize>{message} B</MaxRexmitMessageSize>
      <FragmentSize>{fragment} B</FragmentSize>
    </General>
    <Discovery>
      <ParticipantIndex>auto</ParticipantIndex>
      <MaxAutoParticipantIndex>{last_index}</MaxAutoParticipantIndex>
      <LeaseDuration>{lease:g} s</LeaseDuration>
      <SPDPInterval>{announcement:g} s</SPDPInterval>
    </Discovery>
    <Internal>
      <SocketReceiveBufferSize max="{receive_buffer} B"/>
      <SocketSendBufferSize max="{send_buffer} B"/>
    </Internal>
  </Domain>
</CycloneDDS>
"""


def cyclonedds(overlay: Overlay) -> str:
    message = overlay.message_size
    return _PROFILE.format(
        interface=overlay.interface,
        mtu=overlay.mtu,
        message=message,
        fragment=fragment_size(message),
        transport="udp6" if overlay.uses_ipv6 else "udp",
        last_index=LAST_INDEX,
        lease=LEASE,
        announcement=ANNOUNCEMENT,
        receive_buffer=RECEIVE_BUFFER,
        send_buffer=SEND_BUFFER,
    )
