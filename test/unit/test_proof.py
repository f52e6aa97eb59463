"""The secret proof of an initiation."""

from __future__ import annotations

import pytest

from omni_core.crypto.proof import NO_PROOF, initiation_proof, verify_initiation_proof

PSK, EPHEMERAL, RESPONDER, TIMESTAMP = b"k" * 32, b"e" * 32, b"r" * 32, 1_700_000_000_000_000_000


def test_golden() -> None:
    assert initiation_proof(PSK, EPHEMERAL, RESPONDER, TIMESTAMP).hex() == "c62f1f324cbaaf167f4f2993a96ad434"


def test_open_cluster_has_no_proof() -> None:
    assert initiation_proof(None, EPHEMERAL, RESPONDER, TIMESTAMP) == NO_PROOF == bytes(16)
    assert verify_initiation_proof(None, EPHEMERAL, RESPONDER, TIMESTAMP, NO_PROOF)


@pytest.mark.parametrize(
    "changed",
    [
        (b"x" * 32, EPHEMERAL, RESPONDER, TIMESTAMP),
        (PSK, b"x" * 32, RESPONDER, TIMESTAMP),
        (PSK, EPHEMERAL, b"x" * 32, TIMESTAMP),
        (PSK, EPHEMERAL, RESPONDER, TIMESTAMP + 1),
        (None, EPHEMERAL, RESPONDER, TIMESTAMP),
    ],
    ids=["psk", "ephemeral", "responder", "timestamp", "no secret"],
)
def test_binds_everything(changed: tuple[bytes | None, bytes, bytes, int]) -> None:
    proof = initiation_proof(PSK, EPHEMERAL, RESPONDER, TIMESTAMP)
    assert verify_initiation_proof(PSK, EPHEMERAL, RESPONDER, TIMESTAMP, proof)
    assert not verify_initiation_proof(*changed, proof)
