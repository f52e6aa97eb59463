"""Password, user and TLS: what is refused is said at once, what is only away may come, and no password is shown."""

from __future__ import annotations

import asyncio
import datetime
import ipaddress
import logging
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from support.redis_server import RedisServer

from omni_core.config.nucleus_values import StoreLocation, parse_store
from omni_core.errors import ConfigError, SystemRefused
from omni_core.io.redis_store import RedisAccess, RedisLink, check_access
from omni_core.signaling.shared.store import SharedStore

PASSWORD = "swordfish-9174"


def location(url: str) -> StoreLocation:
    found = parse_store(url)
    assert found is not None
    return found


@pytest.fixture
def locked(tmp_path: Path) -> Iterator[RedisServer]:
    server = RedisServer(
        tmp_path, "--requirepass", PASSWORD, "--user", "nucleus", "on", f">{PASSWORD}x", "~omni:*", "&omni:*", "+@all"
    )
    server.start()
    yield server
    server.kill()


async def connects(access: RedisAccess) -> bool:
    store = SharedStore("n", ["fleet"], lifetime=90, random=os.urandom)
    told = asyncio.Event()
    link = RedisLink(store, access, lambda: told.set() if store.available else None)
    link.start()
    try:
        await asyncio.wait_for(told.wait(), 10)
        return store.available
    finally:
        await link.stop()


async def test_a_password(locked: RedisServer) -> None:
    access = RedisAccess(location(locked.url), PASSWORD)
    assert await check_access(access) == ""
    assert await connects(access)
    assert PASSWORD not in repr(access)


async def test_a_user(locked: RedisServer) -> None:
    access = RedisAccess(location(f"unix://nucleus@{locked.socket}"), f"{PASSWORD}x")
    assert await check_access(access) == ""
    assert await connects(access)


@pytest.mark.parametrize("password", ["", "wrong-4711"])
async def test_a_wrong_password_is_said_and_not_shown(
    locked: RedisServer, password: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    access = RedisAccess(location(locked.url), password)
    with pytest.raises(SystemRefused, match=r"refuses us .*store_password_file") as refused:
        await check_access(access)
    assert refused.value.__cause__ is None
    assert "wrong-4711" not in str(refused.value) + caplog.text
    store = SharedStore("n", ["fleet"], lifetime=90, random=os.urandom)
    told = asyncio.Event()
    link = RedisLink(store, access, told.set)
    link.start()
    await asyncio.wait_for(told.wait(), 10)
    notices = store.take_notices()
    await link.stop()
    assert not notices[0].available
    assert "wrong-4711" not in notices[0].text + caplog.text


async def test_one_that_is_not_there_may_come() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # nobody listens
        port = taken.getsockname()[1]
        assert "failed" in await check_access(RedisAccess(location(f"redis://127.0.0.1:{port}/0"), PASSWORD))


# --- TLS --------------------------------------------------------------------------------------------------------------


def _certificate(
    directory: Path, name: str, issuer: tuple[x509.Name, ec.EllipticCurvePrivateKey] | None
) -> tuple[x509.Name, ec.EllipticCurvePrivateKey]:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    issued_by, signing = issuer or (subject, key)
    now = datetime.datetime.now(datetime.timezone.utc)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issued_by)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signing.public_key()), critical=False)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(
            x509.KeyUsage(True, False, False, False, False, issuer is None, issuer is None, False, False), critical=True
        )
        .sign(signing, hashes.SHA256())
    )
    (directory / f"{name}.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (directory / f"{name}.key").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return subject, key


@pytest.fixture
def tls(tmp_path: Path) -> Iterator[str]:
    """The URL of a Redis whose certificate is by ``ca.pem``."""
    _certificate(tmp_path, "server", _certificate(tmp_path, "ca", None))
    _certificate(tmp_path, "other", None)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = RedisServer(
        tmp_path, "--bind", "127.0.0.1", "--tls-port", str(port), "--tls-cert-file", str(tmp_path / "server.pem"),
        "--tls-key-file", str(tmp_path / "server.key"), "--tls-ca-cert-file", str(tmp_path / "ca.pem"),
        "--tls-auth-clients", "no", "--requirepass", PASSWORD,
    )  # fmt: skip
    server.start()
    yield f"rediss://127.0.0.1:{port}/2"
    server.kill()


async def test_tls(tls: str, tmp_path: Path) -> None:
    access = RedisAccess(location(tls), PASSWORD, str(tmp_path / "ca.pem"))
    assert await check_access(access) == ""
    assert await connects(access)


@pytest.mark.parametrize("ca", ["other.pem", ""])
async def test_a_certificate_by_somebody_else(tls: str, tmp_path: Path, ca: str) -> None:
    access = RedisAccess(location(tls), PASSWORD, str(tmp_path / ca) if ca else "")
    with pytest.raises(SystemRefused, match=r"TLS failed .*store_ca_file") as refused:
        await check_access(access)
    assert PASSWORD not in str(refused.value)


async def test_a_ca_file_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("nothing")
    for name in ("ca.pem", "missing.pem"):
        with pytest.raises(ConfigError, match="store_ca_file"):
            await check_access(RedisAccess(location("rediss://127.0.0.1:1/0"), "", str(tmp_path / name)))
