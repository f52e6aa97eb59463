"""Who may register: the checks of a REGISTER, cheapest first, and the sentence that a human gets when one fails."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from omni_core.constants import CLUSTER_EDGES_MAX
from omni_core.crypto.identity import key_start, key_text
from omni_core.crypto.kdf import verify_admission_proof
from omni_core.crypto.record import PeerRecord, open_record
from omni_core.drops import DropReason
from omni_core.errors import OmniError, RemoteViolation
from omni_core.signaling.allow_list import AllowedKey, AllowList
from omni_core.signaling.denials import Denial
from omni_core.signaling.edge import Edge
from omni_core.signaling.endpoints import PackedEndpoint, unpack_endpoint
from omni_core.signaling.leases import Vip4Pool
from omni_core.signaling.messages import Register, Status
from omni_core.signaling.store import Conflict, Store
from omni_core.types import PublicKey, format_mac


@dataclass(frozen=True)
class ClusterPolicy:
    name: str
    admission_key: bytes | None = field(default=None, repr=False)  # None: anyone who knows the Nucleus's key may join
    max_edges: int = CLUSTER_EDGES_MAX
    allow_list: AllowList | None = None  # None: every key
    pool: Vip4Pool | None = None  # of VIP4s for edges without one of their own; less those that the allow list reserves

    @property
    def open(self) -> bool:
        return self.admission_key is None and self.allow_list is None

    @property
    def admits_by(self) -> str:
        """For people."""
        by = [f"{len(self.allow_list)} keys"] if self.allow_list is not None else []
        by += ["secret"] if self.admission_key is not None else []
        return " and ".join(by) or "everyone"

    def with_allow_list(self, allow_list: AllowList | None, pool: Vip4Pool | None) -> ClusterPolicy:
        """``pool``: as configured."""
        if pool is not None and allow_list is not None:
            reserved = frozenset(address for address in allow_list.reserved if address in pool)
            pool = replace(pool, excluded=pool.excluded | reserved)
        return replace(self, allow_list=allow_list, pool=pool)

    def entry(self, key: PublicKey) -> AllowedKey | None:
        """Its line of the allow list."""
        return self.allow_list.keys.get(key) if self.allow_list is not None else None


class Refused(OmniError):
    """A registration that the Nucleus does not take. ``str`` is the sentence for the edge's user."""

    def __init__(self, status: Status, sentence: str, reason: DropReason) -> None:
        super().__init__(sentence)
        self.status = status
        self.reason = reason


def edge_from_register(
    register: Register,
    remote: PublicKey,
    handshake_hash: bytes,
    observed: PackedEndpoint,
    clusters: Mapping[str, ClusterPolicy],
    store: Store,
    now: float,
    limit: Callable[[bool], None] = lambda new: None,
) -> Edge:
    """The edge to register for the session's ``remote``; its addresses may still be another's. Raises Refused.

    ``limit(new)`` is called before work is done for a registration that changes something; ``new``: of a key that is
    not registered. What it raises is raised. The VIP4 of an edge that wants one leased is checked by ``check_vip4``.
    """
    policy = clusters.get(register.cluster)
    if policy is None:
        raise Refused(
            Status.UNKNOWN_CLUSTER,
            f"this Nucleus serves no cluster '{register.cluster}'; correct the cluster's name, or add it to the "
            "Nucleus's clusters",
            DropReason.NOT_ADMITTED,
        )
    if policy.admission_key is not None and not verify_admission_proof(
        policy.admission_key, handshake_hash, remote, policy.name, register.proof
    ):
        raise Refused(
            Status.BAD_PROOF,
            f"the secret of cluster '{policy.name}' is {'wrong' if register.proof else 'missing'}; take it from "
            "the join token of this cluster",
            DropReason.NOT_ADMITTED,
        )
    denial = store.denied(remote, now)
    if denial is not None:
        raise denied(denial)
    if policy.allow_list is not None and remote not in policy.allow_list.keys:
        raise _not_listed(remote, policy.allow_list)
    known = store.get(remote)
    if known is not None and known.cluster != policy.name:
        known = None
    if known is not None and known.record == register.record:
        return replace(known, observed=observed, local=register.local)
    limit(known is None)
    record = _opened(register.record, remote, policy.name)
    if known is not None and record.version <= known.version:
        raise superseded(known)
    if known is None and store.size(policy.name) >= policy.max_edges:
        raise Refused(
            Status.CLUSTER_FULL,
            f"cluster '{policy.name}' has its {policy.max_edges} edges; stop some, or raise the Nucleus's limit",
            DropReason.RATE_LIMITED,
        )
    vip4 = ipaddress.IPv4Interface(record.vip4).ip.packed if record.vip4 else b""
    check_name(policy, remote, record.name)
    if not register.wants_vip4:
        check_vip4(policy, remote, vip4)
    return Edge(
        key=remote,
        cluster=policy.name,
        record=register.record,
        version=record.version,
        vip4=vip4,
        vip6=record.vip6.packed,
        mac=record.mac,
        observed=observed,
        local=register.local,
        name=record.name,
    )


def check_name(policy: ClusterPolicy, key: PublicKey, name: str) -> None:
    """Raises Refused where the allow list wants another."""
    entry = policy.entry(key)
    if policy.allow_list is not None and entry is not None and entry.name and entry.name != name:
        problem = f"this robot is to be named '{entry.name}' and says '{name}'"
        raise _not_as_listed(policy.allow_list, entry, problem, f"set name to '{entry.name}'")


def check_vip4(policy: ClusterPolicy, key: PublicKey, vip4: bytes) -> None:
    """``vip4``: 4 bytes, or none. Raises Refused where the allow list wants another, or reserves it for another key."""
    if policy.allow_list is None:
        return
    entry = policy.entry(key)
    if entry is not None and entry.vip4 is not None and entry.vip4.ip.packed != vip4:
        has = f"has {ipaddress.IPv4Address(vip4)}" if vip4 else "has none"
        fix = f"set vip4 to {entry.vip4}, or to auto"
        raise _not_as_listed(policy.allow_list, entry, f"VIP {entry.vip4.ip} is this robot's, and it {has}", fix)
    holder = policy.allow_list.reserved.get(vip4)
    if holder is not None and holder.key != key:
        raise Refused(
            Status.ADDRESS_TAKEN,
            f"VIP {ipaddress.IPv4Address(vip4)} is reserved for key {short_key(holder.key)} in "
            f"{policy.allow_list.origin}, line {holder.line}, on the Nucleus's machine; choose another vip4, or change "
            "that line",
            DropReason.NOT_ADMITTED,
        )


def complies(policy: ClusterPolicy, edge: Edge) -> bool:
    """A registered edge is still as the allow list wants it."""
    if policy.allow_list is not None and edge.key not in policy.allow_list.keys:
        return False
    try:
        check_name(policy, edge.key, edge.name)
        check_vip4(policy, edge.key, edge.vip4)
    except Refused:
        return False
    return True


def denied(denial: Denial) -> Refused:
    because = f" ({denial.reason})" if denial.reason else ""
    return Refused(
        Status.DENIED,
        f"an administrator of the Nucleus has shut key {short_key(denial.key)} out{because}; on its machine: "
        f"omni nucleus admin allow {key_text(denial.key)}",
        DropReason.NOT_ADMITTED,
    )


def no_lease(policy: ClusterPolicy) -> str:
    """Why an edge that wants a VIP4 gets none."""
    if policy.pool is None:
        return (
            f"the Nucleus leases no VIP4 in cluster '{policy.name}'; set vip4_pools on its machine, or give this "
            "robot a vip4"
        )
    return (
        f"all VIP4s of cluster '{policy.name}' ({policy.pool}) are in use or leased; enlarge vip4_pools on the "
        "Nucleus's machine, or give this robot a vip4"
    )


def superseded(known: Edge) -> Refused:
    """The refusal of an edge whose key is registered with a newer record, ``known``."""
    return Refused(
        Status.STALE_RECORD,
        f"key {short_key(known.key)} is registered by a newer start, from {unpack_endpoint(known.observed)}; if that "
        "is another robot, its key file is a copy: give one of them a new key with `omni keygen`; if not, correct "
        "this machine's clock",
        DropReason.STALE_RECORD,
    )


def address_taken(edge: Edge, conflict: Conflict) -> Refused:
    """The refusal when another key has one of the addresses of ``edge``."""
    address, holder, at = conflict
    if address == edge.mac:
        what, setting = f"MAC {format_mac(address)}", "MAC"
    else:
        vip = ipaddress.ip_address(address)
        what, setting = f"VIP {vip}", "vip4" if vip.version == 4 else "key"
    if at is None:
        sentence = f"{what} is leased to key {short_key(holder)}, which is away; choose another {setting}"
    else:
        place = unpack_endpoint(at)
        sentence = f"{what} is held by key {short_key(holder)} at {place}; choose another {setting} or stop that edge"
    return Refused(
        Status.ADDRESS_TAKEN,
        sentence,
        DropReason.NOT_ADMITTED,
    )


def short_key(key: PublicKey) -> str:
    """The first characters of a public key, enough for a human to tell it from others."""
    return key_start(key) + "…"


def _not_listed(key: PublicKey, allow_list: AllowList) -> Refused:
    return Refused(
        Status.NOT_ALLOWED,
        f"key {short_key(key)} is not in the allow list; add the line '{key_text(key)}' to {allow_list.origin} on the "
        "Nucleus's machine",
        DropReason.NOT_ADMITTED,
    )


def _not_as_listed(allow_list: AllowList, entry: AllowedKey, problem: str, fix: str) -> Refused:
    place = f"{allow_list.origin}, line {entry.line}, on the Nucleus's machine"
    return Refused(Status.NOT_ALLOWED, f"{problem} (by {place}); {fix}, or change that line", DropReason.NOT_ADMITTED)


def _opened(data: bytes, remote: PublicKey, cluster: str) -> PeerRecord:
    try:
        record = open_record(data)
    except RemoteViolation as violation:
        raise _bad_record(f"the peer record is not valid ({violation})") from None
    if record.public_key != remote:
        raise _bad_record("the peer record is signed by another key than the session's")
    if record.cluster != cluster:
        raise _bad_record(f"the peer record is for cluster '{record.cluster}', not for '{cluster}'")
    return record


def _bad_record(problem: str) -> Refused:
    sentence = f"{problem}; use the omni_ros2 version of the Nucleus, and restart the edge"
    return Refused(Status.BAD_RECORD, sentence, DropReason.BAD_RECORD)
