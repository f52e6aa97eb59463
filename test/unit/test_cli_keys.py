"""`omni keygen` and `omni token`: what they write and print, and every way a key or secret file can be wrong."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest
from support.command_line import Caller, Outcome, omni_process

from omni_core.crypto.identity import Identity, encode_key_file, key_text
from omni_core.crypto.token import JoinToken
from omni_core.types import Endpoint, format_mac

IDENTITY = Identity.from_seed(bytes(range(32)))
KEY_TEXT = key_text(IDENTITY.public_key)
KEY_SECRET = encode_key_file(IDENTITY).partition("secret = ")[2].strip()
SECRET = "correct horse battery staple"


@pytest.fixture
def omni(capsys: pytest.CaptureFixture[str]) -> Caller:
    return Caller(capsys)


def write(path: Path, text: str | bytes, mode: int = 0o600) -> Path:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    path.chmod(mode)
    return path


def secret_text(path: Path) -> str:
    return path.read_text().partition("secret = ")[2].strip()


# --- keygen -----------------------------------------------------------------------------------------------------------


def test_keygen_makes_a_private_file_and_prints_the_public_side(omni: Caller, tmp_path: Path) -> None:
    path = tmp_path / "new" / "key"
    old = os.umask(0)
    try:
        outcome = omni("keygen", path)
    finally:
        os.umask(old)
    assert (outcome.code, outcome.err) == (0, "")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    facts = dict(
        line.split(maxsplit=1)
        for line in outcome.out.replace(" key", "_key").replace("key file", "key_file").splitlines()
    )
    shown = json.loads(omni("keygen", "--show", "--json", path).out)
    assert facts == shown
    assert set(shown) == {"key_file", "public_key", "vip6", "mac"}
    assert secret_text(path)
    assert secret_text(path) not in outcome.out


def test_keygen_shows_the_addresses_of_a_key(omni: Caller, tmp_path: Path) -> None:
    path = write(tmp_path / "key", encode_key_file(IDENTITY))
    shown = json.loads(omni("keygen", "--show", "--json", path).out)
    assert shown["public_key"] == KEY_TEXT
    assert shown["vip6"] == str(IDENTITY.vip6)
    assert shown["mac"] == format_mac(IDENTITY.mac)


def test_keygen_refuses_to_overwrite_unless_forced(omni: Caller, tmp_path: Path) -> None:
    path = write(tmp_path / "key", encode_key_file(IDENTITY))
    omni("keygen", path).assert_refused(2, "key_file", "exists already", "--force")
    assert path.read_text() == encode_key_file(IDENTITY)
    assert omni("keygen", "--force", path).code == 0
    assert path.read_text() != encode_key_file(IDENTITY)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_keygen_where_nothing_can_be_written(omni: Caller, tmp_path: Path) -> None:
    write(tmp_path / "file", "")
    omni("keygen", tmp_path / "file" / "key").assert_refused(2, "key_file")


def key_file_cases() -> list[object]:
    good = encode_key_file(IDENTITY)
    lines = good.splitlines()
    return [
        pytest.param(None, 0o600, "does not exist", id="missing"),
        pytest.param(good, 0o644, "chmod 600", id="world-readable"),
        pytest.param(good, 0o640, "chmod 600", id="group-readable"),
        pytest.param("", 0o600, "", id="empty"),
        pytest.param("hello\n", 0o600, "", id="other-text"),
        pytest.param(good[: len(good) // 2], 0o600, "", id="cut"),
        pytest.param(good.replace("secret = ", "secret = A"), 0o600, "", id="too-long"),
        pytest.param("\n".join([lines[0], lines[1], "secret = " + "A" * 43]), 0o600, "", id="other-secret"),
        pytest.param(b"\xff\xfe" + good.encode(), 0o600, "not text", id="binary"),
        pytest.param("x" * 100_000, 0o600, "more than", id="huge"),
    ]


@pytest.mark.parametrize(("content", "mode", "says"), key_file_cases())
def test_bad_key_file(omni: Caller, tmp_path: Path, content: str | bytes | None, mode: int, says: str) -> None:
    path = tmp_path / "key"
    if content is not None:
        write(path, content, mode)
    for arguments in (
        ("keygen", "--show", path),
        ("token", "--cluster", "c", "--nucleus", "a:1", "--key-file", path),
    ):
        outcome = omni(*arguments)
        outcome.assert_refused(2, "key_file", str(path), says)
        assert_no_secret(outcome, KEY_SECRET)


def assert_no_secret(outcome: Outcome, secret: str) -> None:
    assert secret not in outcome.out
    assert secret not in outcome.err


def test_directory_instead_of_a_key_file(omni: Caller, tmp_path: Path) -> None:
    omni("keygen", "--show", tmp_path).assert_refused(2, "key_file", "not a regular file")


def test_unreadable_key_file_of_another_user(omni: Caller, tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root, to become another user")
    path = write(tmp_path / "key", encode_key_file(IDENTITY))
    tmp_path.chmod(0o755)
    omni("keygen", "--show", path)  # loads what the other user may not be able to read: the source tree
    os.seteuid(65534)
    try:
        outcome = omni("keygen", "--show", path)
    finally:
        os.seteuid(0)
    outcome.assert_refused(2, "key_file", "cannot be read", "Permission denied")


# --- token ------------------------------------------------------------------------------------------------------------


def test_token_to_stdout_from_the_public_key(omni: Caller) -> None:
    outcome = omni(
        "token",
        "--cluster",
        "wh",
        "--nucleus",
        "n.example.org:1",
        "--nucleus",
        "[fd00::1]:2",
        "--nucleus-key",
        KEY_TEXT,
    )
    assert (outcome.code, outcome.err) == (0, "")
    token = JoinToken.parse(outcome.out)
    assert token.nucleus == (Endpoint("n.example.org", 1), Endpoint("fd00::1", 2))
    assert (token.cluster, token.nucleus_keys, token.secret) == ("wh", (IDENTITY.public_key,), None)


@pytest.mark.parametrize("how", ["with a comma", "twice", "files"])
def test_token_of_nuclei_with_a_key_each(omni: Caller, tmp_path: Path, how: str) -> None:
    other = Identity.from_seed(bytes(32))
    keys = {
        "with a comma": ["--nucleus-key", f"{KEY_TEXT},{key_text(other.public_key)}"],
        "twice": ["--nucleus-key", KEY_TEXT, "--nucleus-key", key_text(other.public_key)],
        "files": [
            *("--key-file", write(tmp_path / "a", encode_key_file(IDENTITY))),
            *("--key-file", write(tmp_path / "b", encode_key_file(other))),
        ],
    }
    outcome = omni("token", "--cluster", "wh", "--nucleus", "a:1", "--nucleus", "b:2", *keys[how])
    assert (outcome.code, outcome.err) == (0, "")
    assert JoinToken.parse(outcome.out).nuclei == (
        (Endpoint("a", 1), IDENTITY.public_key),
        (Endpoint("b", 2), other.public_key),
    )


def test_token_of_nuclei_and_keys_that_do_not_fit(omni: Caller, tmp_path: Path) -> None:
    two = ("token", "--cluster", "wh", "--nucleus", "a:1", "--nucleus", "b:2")
    outcome = omni(*two, "--nucleus-key", f"{KEY_TEXT},{KEY_TEXT},{KEY_TEXT}")
    outcome.assert_refused(2, "nucleus-key", "3 keys for 2 Nuclei", "in the same order")
    key = write(tmp_path / "key", encode_key_file(IDENTITY))
    outcome = omni("token", "--cluster", "wh", "--nucleus", "a:1", "--key-file", key, "--key-file", key)
    outcome.assert_refused(2, "key-file", "2 keys for one Nucleus", "in the same order")
    outcome = omni(*two, "--nucleus", "a:1", "--nucleus-key", KEY_TEXT)
    outcome.assert_refused(2, "nucleus-key", "a Nucleus is there twice")


def test_token_with_a_secret_to_a_private_file(omni: Caller, tmp_path: Path) -> None:
    key = write(tmp_path / "key", encode_key_file(IDENTITY))
    secret = write(tmp_path / "secret", SECRET + "\n")
    out = tmp_path / "token"
    command = (
        "token",
        "--cluster",
        "wh",
        "--nucleus",
        "10.0.0.1",
        "--key-file",
        key,
        "--secret-file",
        secret,
        "--out",
        out,
    )
    old = os.umask(0)
    try:
        outcome = omni(*command)
    finally:
        os.umask(old)
    assert outcome.code == 0
    assert_no_secret(outcome, SECRET.replace(" ", "%20"))
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    token = JoinToken.parse(out.read_text())
    assert token.secret == SECRET.encode()
    assert token.nucleus_keys == (IDENTITY.public_key,)
    assert secret_text(key) not in out.read_text()
    omni(*command).assert_refused(2, "out", "exists already", "--force")
    assert omni(*command, "--force").code == 0


def test_secret_from_standard_input_of_a_real_process() -> None:
    command = ("token", "--cluster", "wh", "--nucleus", "a:1", "--nucleus-key", KEY_TEXT, "--secret-file", "-")
    outcome = omni_process(*command, stdin=SECRET + "\n")
    assert outcome.code == 0, outcome
    assert JoinToken.parse(outcome.out).secret == SECRET.encode()
    omni_process(*command, stdin="").assert_refused(2, "secret-file", "standard input", "empty")
    omni_process(*command, stdin="two\nlines\n").assert_refused(2, "secret-file", "standard input")


@pytest.mark.parametrize(
    ("content", "mode", "says"),
    [
        (None, 0o600, "does not exist"),
        (SECRET, 0o644, "chmod 600"),
        ("", 0o600, "empty"),
        ("a\nb", 0o600, "one line"),
        (b"\xff", 0o600, "not text"),
    ],
)
def test_bad_secret_file(omni: Caller, tmp_path: Path, content: str | bytes | None, mode: int, says: str) -> None:
    path = tmp_path / "secret"
    if content is not None:
        write(path, content, mode)
    outcome = omni("token", "--cluster", "wh", "--nucleus", "a:1", "--nucleus-key", KEY_TEXT, "--secret-file", path)
    outcome.assert_refused(2, "secret-file", str(path), says)
    assert_no_secret(outcome, SECRET)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("cluster", "a b"),
        ("nucleus", "a:0"),
        ("nucleus", "[fd00::1"),
        ("nucleus-key", "short"),
        ("nucleus-key", "!" * 43),
    ],
)
def test_bad_values_of_a_token(omni: Caller, option: str, value: str) -> None:
    values = {"cluster": "wh", "nucleus": "a:1", "nucleus-key": KEY_TEXT, option: value}
    omni("token", *(word for name, text in values.items() for word in (f"--{name}", text))).assert_refused(2, option)


def test_token_file_that_cannot_be_written(omni: Caller, tmp_path: Path) -> None:
    command = ("token", "--cluster", "wh", "--nucleus", "a:1", "--nucleus-key", KEY_TEXT)
    omni(*command, "--out", tmp_path / "none" / "token").assert_refused(2, "out", "cannot be written")
