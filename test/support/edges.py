"""Registered edges without the cryptography."""

from __future__ import annotations

from omni_core.signaling.edge import Edge


def make_edge(number: int, cluster: str = "fleet", *, version: int = 1, port: int = 51820, **changes: object) -> Edge:
    fields: dict[str, object] = {
        "key": number.to_bytes(32, "big"),
        "cluster": cluster,
        "record": b"record %d of %d" % (version, number),
        "version": version,
        "vip4": bytes([10, 77]) + number.to_bytes(2, "big"),
        "vip6": number.to_bytes(16, "big"),
        "mac": b"\x02\0" + number.to_bytes(4, "big"),
        "observed": bytes([10, 0]) + number.to_bytes(2, "big") + port.to_bytes(2, "little"),
        "local": (),
    }
    return Edge(**(fields | changes))  # type: ignore[arg-type]
