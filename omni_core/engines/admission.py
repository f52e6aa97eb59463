"""Who may have a session with us, and which VIP4 it may hold. Part of the Ganglion engine."""

from __future__ import annotations

from collections.abc import Callable

from omni_core.crypto.identity import key_start
from omni_core.engines.ganglion_events import GanglionEvent, Warned
from omni_core.engines.peers import Peer, PeerBook
from omni_core.engines.settings import GanglionSettings
from omni_core.types import PublicKey
from omni_core.wire.hello import Hello

_OTHER_VIP4 = "Fix: give one of the two another vip4"


class Admission:
    def __init__(
        self,
        settings: GanglionSettings,
        book: PeerBook,
        *,
        is_up: Callable[[Peer], bool],
        emit: Callable[[GanglionEvent], None],
    ) -> None:
        self._settings = settings
        self._book = book
        self._is_up = is_up
        self._emit = emit
        self.own_vip4 = settings.vip4.ip if settings.vip4 else None
        self.static_keys = frozenset(p.public_key for p in settings.static_peers)

    def admits(self, public_key: PublicKey, member: bool) -> bool:
        """The cluster secret, where there is one, has been proven already. ``member``: the Nucleus vouches for it."""
        settings = self._settings
        if public_key in self.static_keys:
            return True
        if settings.allowed_keys is not None:
            return public_key in settings.allowed_keys
        return settings.psk is not None or member

    def may_hold_vip4(self, public_key: PublicKey, hello: Hello, *, quiet: bool = False) -> bool:
        """First holder wins while it is there; a change of key behind a VIP is never silent. ``quiet``: no word about a
        refusal, for a claim that costs nothing to repeat."""
        if hello.vip4 is None:
            return True
        claim = f"{hello.name or 'a peer'} ({key_start(public_key)}) claims VIP {hello.vip4}"
        if hello.vip4 == self.own_vip4:
            if not quiet:
                self._emit(Warned(f"{claim}, which is ours: refused. {_OTHER_VIP4}"))
            return False
        holder = self._book.by_address(hello.vip4)
        if holder is None or holder.public_key == public_key:
            return True
        if holder.member or holder.static or self._is_up(holder):
            if not quiet:
                self._emit(Warned(f"{claim}, which belongs to {holder.label}: refused. {_OTHER_VIP4}"))
            return False
        self._emit(Warned(f"{claim}; until now it belonged to {holder.label}, which is gone. Did you expect this?"))
        return True
