"""Why DDS does not work with a peer, or will not work well: facts in, sentences out. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from omni_core.dds.settings import Setting

# Of the environment: keys that change whom DDS finds.
ENVIRONMENT = (
    "RMW_IMPLEMENTATION",
    "ROS_DOMAIN_ID",
    "ROS_AUTOMATIC_DISCOVERY_RANGE",
    "ROS_LOCALHOST_ONLY",
    "ROS_STATIC_PEERS",
    "ROS_DISCOVERY_SERVER",
    "FASTDDS_DEFAULT_PROFILES_FILE",
    "FASTRTPS_DEFAULT_PROFILES_FILE",
    "CYCLONEDDS_URI",
)
PROBE_NODE = "omni_dds_check"
LOOPBACK = ("lo", "localhost", "127.0.0.1", "::1")


@dataclass(frozen=True)
class Profile:
    """The DDS profile that the environment names."""

    path: str
    text: str | None  # None: it cannot be read


@dataclass
class Wire:
    """RTPS frames of our domain on the overlay while the probe ran; ``peer_`` and ``to_socket``: from the peer."""

    frames: bool = True  # frames could be watched (CAP_NET_RAW)
    ours_multicast: int = 0
    peer_multicast: int = 0
    peer_unicast: int = 0
    listens: bool = False  # a socket of this machine has joined the group of discovery (IPv4 only)
    to_socket: int = 0  # multicast of the peer that it got
    fragments: int = 0  # IP fragments, either way
    vendors: set[str] = field(default_factory=set)  # of the peer
    domains: set[int] = field(default_factory=set)  # in which the peer sends by multicast


@dataclass(frozen=True)
class Facts:
    peer: str  # what people call it
    session: str  # "up", "lost" ...; "unknown" without a Ganglion
    interface: str
    addresses: Sequence[str]  # that the interface has now; empty: it is not there, or has none
    machine_addresses: Sequence[str]  # of all interfaces
    domain: int
    peer_domains: Sequence[int]  # with participants there; empty: not known
    environment: Mapping[str, str]
    profile: Profile | None
    settings: Sequence[tuple[Setting, int]] = ()  # those that are not good, and what they are
    local_only: Sequence[str] = ()  # DDS processes of this machine that use the loopback interface only
    wire: Wire | None = None
    result: Mapping[str, Any] = field(default_factory=dict)  # of omni_ros2.dds_probe; empty: it did not run
    said: str = ""  # errors that DDS printed


def before(facts: Facts) -> list[str]:
    """What is wrong whatever the probe says: it need not even run."""
    if facts.session not in ("up", "unknown"):
        return [
            f"there is no session with {facts.peer} (it is {facts.session}). Fix: see omni peers, and omni doctor there"
        ]
    if not facts.addresses:
        return [
            f"{facts.interface} is not there, or has no address. Fix: start the Ganglion (omni up), "
            "and the nodes after it"
        ]
    return []


def reasons(facts: Facts) -> list[str]:
    """Why not, the likeliest first. Empty when all worked."""
    result = facts.result
    if result.get("discovery_s") is None:
        return _no_discovery(facts)
    if not result.get("rtts_s"):
        return [*_no_unicast(facts), *_large(facts)] or [
            f"{facts.peer} is discovered, and its replies do not arrive. Fix: the same check there, towards this robot"
        ]
    if result.get("large_out_s") is None or result.get("large_in_s") is None:
        return _large(facts) or [
            "large messages do not arrive whole. Fix: the profile of omni dds --write on both robots"
        ]
    return []


def remarks(facts: Facts) -> list[str]:
    """What is worth mending although it may work today."""
    found = []
    if facts.wire is not None and facts.wire.fragments:
        found.append(_fragments(facts.wire.fragments))
    if facts.wire is not None and facts.wire.frames and facts.result.get("discovery_s") is not None:
        # Discovery needs multicast one way only, and somebody else may hear it the other.
        found += [*_silent(facts, facts.wire), *_deaf(facts, facts.wire)]
    found += [
        f"{setting.key} is {value}: {setting.why}. Fix: dds_sysctls: auto, or sysctl -w {setting.key}={setting.wanted}"
        for setting, value in facts.settings
    ]
    if facts.local_only:
        found.append(
            f"started before {facts.interface} had its address, so not on the overlay: {', '.join(facts.local_only)}. "
            "Fix: restart them"
        )
    if peers := facts.environment.get("ROS_STATIC_PEERS", ""):
        found.append(
            f"ROS_STATIC_PEERS={peers}: the overlay needs none, and each costs up to 32 announcements a period. "
            "Fix: unset it"
        )
    if facts.profile is None and facts.session != "unknown":
        found.append(
            "no DDS profile: DDS uses every interface, in clear where that is not the overlay. "
            "Fix: omni dds --rmw ... --write DIR, and export what it prints"
        )
    return found


def _no_discovery(facts: Facts) -> list[str]:
    certain = [*_environment(facts), *_profile(facts), *_domains(facts)]
    if facts.said:
        certain.append(f"DDS said: {facts.said}")
    if certain:
        return certain
    return _on_the_wire(facts)


def _environment(facts: Facts) -> list[str]:
    environment, found = facts.environment, []
    reach = environment.get("ROS_AUTOMATIC_DISCOVERY_RANGE", "")
    if environment.get("ROS_LOCALHOST_ONLY", "0") not in ("", "0"):
        found.append("ROS_LOCALHOST_ONLY keeps DDS on this machine. Fix: unset it")
    if reach in ("LOCALHOST", "OFF"):
        found.append(
            f"ROS_AUTOMATIC_DISCOVERY_RANGE={reach} keeps DDS on this machine. "
            "Fix: export ROS_AUTOMATIC_DISCOVERY_RANGE=SUBNET"
        )
    if server := environment.get("ROS_DISCOVERY_SERVER", ""):
        found.append(
            f"ROS_DISCOVERY_SERVER={server}: participants are found through that server only. Fix: unset it; "
            "the overlay carries multicast"
        )
    return found


def _profile(facts: Facts) -> list[str]:
    profile = facts.profile
    if profile is None:
        return []
    if profile.text is None:
        return [f"the DDS profile {profile.path} cannot be read. Fix: omni dds --write makes it"]
    bound = [name for name in bound_to(profile.text) if name not in LOOPBACK]
    if not bound or facts.interface in bound or set(bound) & set(facts.addresses):
        return []
    gone = [name for name in bound if _is_address(name) and name not in facts.machine_addresses]
    what = f"an address that this machine does not have ({', '.join(gone)})" if gone else ", ".join(bound)
    return [
        f"the DDS profile {profile.path} binds DDS to {what}, not to {facts.interface}. Fix: omni dds --write, again "
        "after every change of the VIP"
    ]


def bound_to(text: str) -> list[str]:
    """Interfaces and addresses that a profile of Fast DDS or Cyclone DDS allows; empty: all."""
    allowed = re.sub(r"<blocklist>.*?</blocklist>|<!--.*?-->", "", text, flags=re.DOTALL)
    lists = "".join(re.findall(r"<interfaceWhiteList>(.*?)</interfaceWhiteList>", allowed, re.DOTALL))
    names = re.findall(r"<(?:address|interface)>\s*([^<\s]+)\s*</", lists)
    for tag in re.findall(r"<(?:NetworkInterface|interface)\b([^>]*)>", allowed):
        names += re.findall(r"\b(?:name|address)\s*=\s*[\"']([^\"']+)[\"']", tag)
    return names


def _domains(facts: Facts) -> list[str]:
    domains = sorted({*facts.peer_domains, *(facts.wire.domains if facts.wire else ())})
    if not domains or facts.domain in domains:
        return []
    theirs = ", ".join(map(str, domains))
    return [
        f"{facts.peer} has no participant in ROS domain {facts.domain}, but in {theirs}. "
        f"Fix: the same ROS_DOMAIN_ID on both, or --domain {domains[0]} here"
    ]


def _on_the_wire(facts: Facts) -> list[str]:
    wire, peer, port = facts.wire, facts.peer, 7400 + 250 * facts.domain
    if wire is None or not wire.frames:
        return [f"nothing of {peer} was found. Fix: repeat this as root, which sees what crosses {facts.interface}"]
    if found := _silent(facts, wire):
        return found
    if not wire.peer_multicast and not wire.peer_unicast:
        return [
            f"{peer} sends no DDS over the overlay in domain {facts.domain}: nothing runs there, its DDS is bound "
            f"elsewhere, or a firewall there drops UDP port {port}. Fix: omni dds --echo there, with the profile of "
            "omni dds --write"
        ]
    if found := _deaf(facts, wire):
        return found
    if found := [*_vendors(facts), *_no_unicast(facts)]:
        return found
    if set(facts.result.get("nodes", ())) <= {PROBE_NODE}:
        return [
            f"{peer} is heard, and none of its nodes is found: a firewall here drops UDP ports from "
            f"{7410 + 250 * facts.domain}, or no ROS node runs there. Fix: let UDP in on {facts.interface}; "
            "omni dds --echo there"
        ]
    return [
        f"nodes are found, and nobody answers the probe at {peer}. Fix: run omni dds --echo there, or its Ganglion as "
        "a ROS node with dds_probe: auto"
    ]


def _silent(facts: Facts, wire: Wire) -> list[str]:
    if wire.ours_multicast:
        return []
    return [
        f"no announcement of ours left by {facts.interface}: DDS is not bound to it, or a firewall here drops all "
        f"to 239.255.0.1, UDP port {7400 + 250 * facts.domain}. Fix: omni dds --write; let 224.0.0.0/4 out"
    ]


def _deaf(facts: Facts, wire: Wire) -> list[str]:
    if not wire.listens or not wire.peer_multicast or wire.to_socket:
        return []
    return [
        f"announcements of {facts.peer} reach {facts.interface}, and a firewall here drops them. Fix: let 224.0.0.0/4 "
        f"and UDP ports from {7400 + 250 * facts.domain} in on {facts.interface}"
    ]


def _no_unicast(facts: Facts) -> list[str]:
    if facts.wire is None or not facts.wire.frames or facts.wire.peer_unicast:
        return []
    return [
        f"{facts.peer} is heard by multicast, and sends nothing to this robot alone: a firewall, here or there, drops "
        f"UDP ports from {7410 + 250 * facts.domain}. Fix: let UDP in on {facts.interface}"
    ]


def _vendors(facts: Facts) -> list[str]:
    rmw = str(facts.result.get("here", {}).get("rmw", "") or facts.environment.get("RMW_IMPLEMENTATION", ""))
    ours = {"rmw_fastrtps_cpp": "Fast DDS", "rmw_cyclonedds_cpp": "Cyclone DDS"}.get(rmw)
    theirs = sorted(facts.wire.vendors) if facts.wire else []
    if ours is None or not theirs or ours in theirs:
        return []
    return [
        f"{facts.peer} uses {', '.join(theirs)}, this shell {ours}: topics may work between them, services do not. "
        "Fix: the same RMW_IMPLEMENTATION on both"
    ]


def _large(facts: Facts) -> list[str]:
    found = []
    if facts.wire is not None and facts.wire.fragments:
        found.append(_fragments(facts.wire.fragments))
    found += [f"{setting.key} is {value}, less good than {setting.wanted}" for setting, value in facts.settings]
    return found


def _fragments(number: int) -> str:
    return (
        f"{number} IP fragments crossed the overlay: one that is lost loses a whole message. "
        "Fix: the profile of omni dds --write, on the robot that sends them"
    )


def _is_address(text: str) -> bool:
    return ":" in text or text.replace(".", "").isdigit()
