"""Keeps on the overlay interface the VIP4 that the Nucleus leases. Part of the Ganglion's driver."""

from __future__ import annotations

import logging
from ipaddress import IPv4Interface

from omni_core.config.ganglion import GanglionConfig
from omni_core.errors import OmniError
from omni_core.io import overlay
from omni_core.io.journal import Journal
from omni_core.io.membership import save_vip4
from omni_core.io.netlink import Netlink
from omni_core.io.tasks import in_thread

logger = logging.getLogger(__name__)


class OverlayVip4:
    """``there``: on the interface. Whoever makes that, with an address or without, sets it."""

    def __init__(self, config: GanglionConfig, journal: Journal) -> None:
        self.there: IPv4Interface | None = None
        self._config = config
        self._journal = journal

    async def follow(self, wanted: IPv4Interface | None) -> None:
        """In place of the one before. What fails is reported; then call it again."""
        if wanted == self.there:
            return
        try:
            await in_thread(lambda: self._put(wanted))
        except OmniError as error:
            logger.warning("VIP %s is not on %s: %s", wanted, self._config.interface, error)
        else:
            self.there = wanted

    def _put(self, wanted: IPv4Interface | None) -> None:
        save_vip4(self._config.vip4_file, wanted)
        with Netlink() as netlink:
            overlay.change_vip4(self._config.interface, self.there, wanted, self._journal, netlink)
