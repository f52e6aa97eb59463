"""Who gets which group frames, from what the peers told. See dataplane/groups.py for what a policy means."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Final

from omni_core.constants import RTPS_DOMAIN_GAIN, RTPS_PORT_BASE
from omni_core.dataplane.groups import GroupKey, GroupPolicy
from omni_core.types import Mac, PeerId
from omni_core.wire.interest import Interest

POLICY_GROUPS_MAX: Final = 1024  # groups of all peers together; one whose own do not fit gets all, and only that one
POLICY_DOMAINS_MAX: Final = 64  # domains that are told apart, ours first; frames of others go by their group alone


def flood_policy(flood: Collection[PeerId]) -> GroupPolicy:
    """Everything goes to everyone; only what the Ganglion wants to see goes by it."""
    return GroupPolicy({}, frozenset(flood), watch=True)


def make_policy(
    flood: Collection[PeerId],
    told: Mapping[PeerId, Interest],
    spdp_groups: Collection[Mac],
    domains: Collection[int],
) -> GroupPolicy:
    """``told``: of whom nothing is there gets all. ``domains``: those with participants here."""
    interests = {peer: told.get(peer, _ALL) for peer in flood}
    groups: set[Mac] = set()
    by_size = sorted((len(each.groups), peer) for peer, each in interests.items() if each.groups is not None)
    for _, peer in by_size:
        interest = interests[peer]
        together = groups.union(interest.groups or ())
        if len(together) <= POLICY_GROUPS_MAX:
            groups = together
        else:
            interests[peer] = Interest(None, interest.domains)
    elsewhere = frozenset(peer for peer, each in interests.items() if each.groups is None)
    entries: dict[GroupKey, frozenset[PeerId]] = {
        (group, 0): elsewhere | {peer for peer, each in interests.items() if each.groups and group in each.groups}
        for group in sorted(groups)
    }
    of_peers = set[int]().union(*(each.domains or () for each in interests.values())) - set(domains)
    known = [*sorted(domains), *sorted(of_peers)][:POLICY_DOMAINS_MAX]
    for group in sorted(spdp_groups):
        for domain in known:
            hearing = frozenset(peer for peer, each in interests.items() if each.hears(group, domain))
            if hearing != entries.get((group, 0), elsewhere):
                port = RTPS_PORT_BASE + RTPS_DOMAIN_GAIN * domain
                entries[group, port] = entries[group, port + 1] = hearing  # discovery, and user data (9.6.1.1)
    return GroupPolicy(entries, elsewhere, watch=True)


_ALL = Interest()
