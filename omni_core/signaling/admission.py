"""Who may register: the checks of a REGISTER, cheapest first, and the sentence that a human gets when one fails."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from omni_core.constants import CLUSTER_EDGES_MAX
from omni_core.crypto.identity import key_text
from omni_core.crypto.kdf import verify_admission_proof
from omni_core.crypto.record import PeerRecord, open_record
from omni_core.drops import DropReason
from omni_core.errors import OmniError, RemoteViolation
from omni_core.signaling.edge import Edge
from omni_core.signaling.endpoints import PackedEndpoint, unpack_endpoint
from omni_core.signaling.messages import Register, Status
from omni_core.signaling.store import Conflict, Store
from omni_core.types import PublicKey, format_mac


@dataclass(frozen=True)
class ClusterPolicy:
    name: str
    admission_key: bytes | None = field(default=None, repr=False)  # None: anyone who knows the Nucleus's key may join
    max_edges: int = CLUSTER_EDGES_MAX


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
) -> Edge:
    """The edge to register for the session's ``remote``; its addresses may still be another's. Raises Refused."""
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
    known = store.get(remote)
    if known is not None and known.cluster != policy.name:
        known = None
    if known is not None and known.record == register.record:
        return replace(known, observed=observed, local=register.local)
    record = _opened(register.record, remote, policy.name)
    if known is not None and record.version <= known.version:
        raise superseded(known)
    if known is None and store.size(policy.name) >= policy.max_edges:
        raise Refused(
            Status.CLUSTER_FULL,
            f"cluster '{policy.name}' has its {policy.max_edges} edges; stop some, or raise the Nucleus's limit",
            DropReason.RATE_LIMITED,
        )
    return Edge(
        key=remote,
        cluster=policy.name,
        record=register.record,
        version=record.version,
        vip4=ipaddress.IPv4Interface(record.vip4).ip.packed if record.vip4 else b"",
        vip6=record.vip6.packed,
        mac=record.mac,
        observed=observed,
        local=register.local,
        name=record.name,
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
    return key_text(key)[:8] + "…"


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
