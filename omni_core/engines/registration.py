"""The client of the Nucleus, as a Ganglion needs it. Part of the Ganglion engine."""

from __future__ import annotations

from collections.abc import Sequence

from omni_core.crypto.identity import Identity
from omni_core.crypto.record import signed
from omni_core.engines.settings import GanglionSettings
from omni_core.session.sessions import Sessions
from omni_core.signaling.client import NucleusClient
from omni_core.types import Endpoint, RandomBytes


def make_client(
    settings: GanglionSettings,
    identity: Identity,
    local_endpoints: Sequence[Endpoint],
    *,
    version: int,
    sessions: Sessions,
    random: RandomBytes,
) -> NucleusClient | None:
    """None without a Nucleus. ``version``: of our record; a greater one tells the others that we started anew."""
    if not settings.nuclei:
        return None
    nucleus = settings.nuclei[0]
    record = signed(
        identity,
        settings.cluster,
        version=version,
        vip4=str(settings.vip4) if settings.vip4 else None,
        name=settings.name,
        capabilities=settings.capabilities,
    )
    return NucleusClient(
        identity,
        settings.cluster,
        nucleus.public_key,
        nucleus.endpoints,
        record,
        settings.admission_key,
        local_endpoints,
        sessions=sessions,
        random=random,
    )
