"""Key files and files of secrets: modes, owners, damage, atomic making."""

from __future__ import annotations

import os
import stat
import threading
from pathlib import Path

import pytest

from omni_core.crypto.identity import Identity, encode_key_file
from omni_core.errors import ConfigError
from omni_core.io import files
from omni_core.io.keyfile import create_identity, load_identity, load_or_create_identity, load_secret


@pytest.fixture
def key_file(tmp_path):
    path = str(tmp_path / "key")
    create_identity(path)
    return path


def test_a_new_key_is_private_and_reads_back(tmp_path):
    path = str(tmp_path / "deep" / "er" / "key")
    made = create_identity(path)
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    assert load_identity(path).public_key == made.public_key
    assert os.listdir(tmp_path / "deep" / "er") == ["key"]  # nothing temporary stays


def test_a_loose_umask_does_not_open_the_key(tmp_path):
    before = os.umask(0)
    try:
        create_identity(str(tmp_path / "key"))
    finally:
        os.umask(before)
    assert stat.S_IMODE(os.stat(tmp_path / "key").st_mode) == 0o600


def test_an_existing_key_is_kept(key_file):
    before = Path(key_file).read_text()
    with pytest.raises(ConfigError, match="exists already") as caught:
        create_identity(key_file)
    assert caught.value.field == "key_file" and Path(key_file).read_text() == before


def test_replace_replaces(key_file):
    before = load_identity(key_file).public_key
    assert create_identity(key_file, replace=True).public_key == load_identity(key_file).public_key != before


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644, 0o601])
def test_a_key_open_to_others_is_refused(key_file, mode):
    os.chmod(key_file, mode)
    with pytest.raises(ConfigError, match=f"chmod 600 {key_file}"):
        load_identity(key_file)


def test_somebody_elses_key_is_refused(key_file, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: os.stat(key_file).st_uid + 1)
    if os.stat(key_file).st_uid == 0:
        os.chown(key_file, 12345, 12345)
    with pytest.raises(ConfigError, match="belongs to uid"):
        load_identity(key_file)


GOOD = encode_key_file(Identity.from_seed(bytes(range(32))))


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "is empty"),
        (b"\0" * 100, "does not begin"),
        (b"\xff\xfe" * 50, "is not text"),
        (GOOD.encode()[:-10], "characters instead of"),
        (GOOD.replace("secret", "sekret").encode(), "neither"),
        (b"x" * 5000, "5000 bytes"),
    ],
)
def test_a_corrupt_key_is_refused_without_showing_it(tmp_path, content, problem):
    path = tmp_path / "key"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(ConfigError, match=problem) as caught:
        load_identity(str(path))
    assert caught.value.field == "key_file" and str(path) in caught.value.problem
    secret = GOOD.split("secret = ")[1].strip()
    assert secret[:12] not in str(caught.value)


def test_what_is_no_file_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="not a regular file"):
        load_identity(str(tmp_path))
    os.mkfifo(tmp_path / "fifo", 0o600)
    with pytest.raises(ConfigError, match="not a regular file"):  # and does not hang
        load_identity(str(tmp_path / "fifo"))
    with pytest.raises(ConfigError, match="does not exist"):
        load_identity(str(tmp_path / "missing"))


def test_a_directory_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot be made") as caught:
        create_identity(str(tmp_path / "file" / "key"))
    assert caught.value.field == "key_file"


def test_first_use_makes_one_key_even_when_several_start(tmp_path):
    path, keys, gate = str(tmp_path / "key"), [], threading.Barrier(8)

    def start() -> None:
        gate.wait()
        keys.append(load_or_create_identity(path).public_key)

    threads = [threading.Thread(target=start) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(keys) == 8 and len(set(keys)) == 1 and os.listdir(tmp_path) == ["key"]


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "file"
    files.write_atomic(str(path), "old")

    def full(fd: int, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "write", full)
    with pytest.raises(OSError, match="No space"):
        files.write_atomic(str(path), "new")
    monkeypatch.undo()
    assert path.read_text() == "old" and os.listdir(tmp_path) == ["file"]


@pytest.mark.parametrize(
    ("content", "problem"),
    [("", "is empty"), ("  \n", "is empty"), ("one\ntwo\n", "more than one line"), ("a\x07b", "line")],
)
def test_bad_secrets(tmp_path, content, problem):
    path = tmp_path / "secret"
    path.write_text(content)
    path.chmod(0o600)
    with pytest.raises(ConfigError, match=problem) as caught:
        load_secret(str(path), "secret_file")
    assert caught.value.field == "secret_file"


def test_a_secret_is_read_without_its_line_end(tmp_path):
    path = tmp_path / "secret"
    path.write_text(" gr\u00fcne Robbe \n", encoding="utf-8")
    path.chmod(0o600)
    assert load_secret(str(path), "secret_file") == "gr\u00fcne Robbe"
