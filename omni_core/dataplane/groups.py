"""Which peers get which group frames: the rule that every engine follows, and its oracle.

    broadcast, non-IP multicast, link-local groups     -> the whole flood set
    IP multicast to a group in ``groups``              -> the peers listed for (group MAC, UDP destination port), else for
                                                          (group MAC, 0); both intersected with the flood set
    IP multicast to any other group                    -> ``elsewhere``, intersected with the flood set

A group is known by its MAC address, as in any switch: 32 IPv4 groups share one (RFC 1112, 6.4), which only ever adds
receivers. Link-local groups, whose MAC is 01:00:5e:00:00:xx or 33:33:00:00:00:xx, and solicited-node groups
(33:33:ff:xx:xx:xx) are never pruned (RFC 4541, 2.1.2 and 3). Fragments other than the first have no port: (MAC, 0).

What the Ganglion wants to see is *watched* (``watched``): with ``GroupPolicy.watch`` such frames from the local port go
to the Ganglion and nowhere else; it gives them back through ``frames_from_port`` when they are to be flooded.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from omni_core.types import Mac, PeerId

GroupKey: TypeAlias = tuple[Mac, int]  # group MAC, UDP destination port; port 0: any other, and what has no port

RTPS_PORT_BASE: Final = 7400  # DDSI-RTPS 2.3, 9.6.1.1: PB
RTPS_DOMAIN_GAIN: Final = 250  # DG; discovery multicast of domain d goes to PB + DG * d, user multicast to one more


@dataclass(frozen=True)
class GroupPolicy:
    groups: Mapping[GroupKey, frozenset[PeerId]] = field(default_factory=dict)
    elsewhere: frozenset[PeerId] = frozenset()
    watch: bool = False
