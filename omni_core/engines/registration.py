"""The Nuclei, as a Ganglion needs them. Part of the Ganglion engine."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from omni_core.crypto.identity import Identity
from omni_core.crypto.record import signed
from omni_core.drops import DropCounters
from omni_core.engines.nuclei import Nuclei
from omni_core.engines.settings import GanglionSettings, NucleusSettings
from omni_core.session.sessions import Sessions
from omni_core.signaling.book import PeerBook
from omni_core.signaling.client import NucleusClient
from omni_core.signaling.roster import Roster
from omni_core.types import Endpoint, RandomBytes


def make_nuclei(
    settings: GanglionSettings,
    identity: Identity,
    local_endpoints: Sequence[Endpoint],
    *,
    version: int,
    drops: DropCounters,
    random: RandomBytes,
    unix_ns: Callable[[float], int],
) -> Nuclei | None:
    """None without a Nucleus. ``version``: of our record; a greater one tells the others that we started anew.
    ``drops``: for records that are not genuine."""
    if not settings.nuclei:
        return None
    record = own_record(settings, identity, version)
    roster, book = Roster(), PeerBook(record, drops)

    def make(nucleus: NucleusSettings) -> tuple[NucleusClient, Sessions]:
        sessions = Sessions(identity, None, lambda *_: None, random=random, unix_ns=unix_ns)
        client = NucleusClient(
            identity,
            settings.cluster,
            nucleus.public_key,
            nucleus.endpoints,
            record,
            settings.admission_key,
            local_endpoints,
            sessions=sessions,
            random=random,
            roster=roster,
            book=book,
            wants_vip4=settings.vip4_auto,
        )
        return client, sessions

    return Nuclei(settings.nuclei, roster, make=make, random=random)


def own_record(settings: GanglionSettings, identity: Identity, version: int) -> bytes:
    return signed(
        identity,
        settings.cluster,
        version=version,
        vip4=str(settings.vip4) if settings.vip4 else None,
        name=settings.name,
        capabilities=settings.capabilities,
    )
