"""Key derivation: golden values, agreement of both sides, separation of labels, clusters and secrets."""

from __future__ import annotations

import hashlib

import pytest

from omni_core.constants import FIRST_DATA_BYTE
from omni_core.crypto import kdf
from omni_core.errors import LocalMisuse

TRANSPORT = bytes(range(32))
SECRET = b"correct horse battery staple"
HASH, KEY = b"h" * 32, b"k" * 32


def test_hmac_is_rfc2104_over_blake2s() -> None:
    for size in (0, 1, 32, 64, 200):
        message = bytes(range(size))
        padded = TRANSPORT.ljust(64, b"\0")
        inner = hashlib.blake2s(bytes(b ^ 0x36 for b in padded) + message).digest()
        expected = hashlib.blake2s(bytes(b ^ 0x5C for b in padded) + inner).digest()
        assert kdf.hmac_blake2s(TRANSPORT, message) == expected
        assert kdf.hmac_blake2s(bytearray(TRANSPORT), message) == expected


def test_session_keys_golden() -> None:
    key, session_id = kdf.session_keys(TRANSPORT)
    assert key.hex() == "d8f412d2517efbc7a3d2097b08477f7a6bb1547c0fdcbc053d8cc401d65fd590"
    assert session_id.to_bytes(8, "little").hex() == "39fd7d534377f15d"
    assert isinstance(key, bytearray)


def test_session_ids_never_start_like_a_control_message() -> None:
    for n in range(1000):
        _, session_id = kdf.session_keys(n.to_bytes(32, "little"))
        assert session_id.to_bytes(8, "little")[0] >= FIRST_DATA_BYTE


@pytest.mark.parametrize("length", [0, 31, 33, 64])
def test_transport_key_of_wrong_length_is_misuse(length: int) -> None:
    with pytest.raises(LocalMisuse):
        kdf.session_keys(bytes(length))


def test_cluster_keys_golden() -> None:
    psk, admission = kdf.cluster_psk(SECRET, "warehouse"), kdf.admission_key(SECRET, "warehouse")
    assert psk.hex() == "899777524a801280ed82f420d340495f83d9d2fbb43be2b1c48a4212db499d01"
    assert admission.hex() == "651df1173c9060d11c323a2adcf09a9beba9c46ce732483959f6c198a5fa8abe"


def test_cluster_keys_differ_by_use_cluster_and_secret() -> None:
    keys = {
        kdf.cluster_psk(SECRET, "warehouse"),
        kdf.cluster_psk(SECRET, "warehouse2"),
        kdf.cluster_psk(SECRET + b"!", "warehouse"),
        kdf.admission_key(SECRET, "warehouse"),
    }
    assert len(keys) == 4


def test_empty_cluster_secret_is_misuse() -> None:
    with pytest.raises(LocalMisuse):
        kdf.cluster_psk(b"", "warehouse")


def test_admission_proof_golden_and_verified() -> None:
    proof = kdf.admission_proof(TRANSPORT, HASH, KEY, "warehouse")
    assert proof.hex() == "a51f7faa9d838c6a95f2f92e4018763e1603b8be322e47fbc7e4479be1f43eda"
    assert kdf.verify_admission_proof(TRANSPORT, HASH, KEY, "warehouse", proof)


@pytest.mark.parametrize(
    ("key", "handshake_hash", "public_key", "cluster"),
    [
        (b"\1" + TRANSPORT[1:], HASH, KEY, "warehouse"),
        (TRANSPORT, b"i" * 32, KEY, "warehouse"),
        (TRANSPORT, HASH, b"l" * 32, "warehouse"),
        (TRANSPORT, HASH, KEY, "warehouse2"),
    ],
    ids=["other secret", "other handshake", "other edge", "other cluster"],
)
def test_admission_proof_is_of_no_other_use(key: bytes, handshake_hash: bytes, public_key: bytes, cluster: str) -> None:
    proof = kdf.admission_proof(TRANSPORT, HASH, KEY, "warehouse")
    assert not kdf.verify_admission_proof(key, handshake_hash, public_key, cluster, proof)


@pytest.mark.parametrize("proof", [b"", bytes(31), bytes(32), bytes(33)])
def test_admission_proof_of_any_length_is_judged(proof: bytes) -> None:
    assert not kdf.verify_admission_proof(TRANSPORT, HASH, KEY, "warehouse", proof)


def test_admission_proof_wants_whole_keys() -> None:
    with pytest.raises(LocalMisuse):
        kdf.admission_proof(TRANSPORT, HASH[:-1], KEY + b"x", "warehouse")
