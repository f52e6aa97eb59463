"""The identity's key file and the files of secrets: mode 0600, made atomically, refused when others could read them."""

from __future__ import annotations

import os

from omni_core.crypto.identity import Identity, decode_key_file, encode_key_file
from omni_core.errors import ConfigError
from omni_core.io.files import make_directory, read_private, write_atomic
from omni_core.types import RandomBytes


def load_identity(path: str, field: str = "key_file") -> Identity:
    """Raises ConfigError naming ``field``: missing, unreadable, open to others, corrupt."""
    text = read_private(path, field)
    try:
        return decode_key_file(text)
    except ConfigError as error:
        raise ConfigError(field, f"{path} {error.problem}", error.fix) from None


def create_identity(
    path: str, field: str = "key_file", *, replace: bool = False, random: RandomBytes = os.urandom
) -> Identity:
    """A new key in a new file, or with ``replace`` in place of an old one.

    Raises ConfigError naming ``field`` when the file exists (without ``replace``) or cannot be written.
    """
    identity = Identity.generate(random)
    directory = os.path.dirname(os.path.abspath(path))
    make_directory(directory, field)
    try:
        write_atomic(path, encode_key_file(identity), replace=replace)
    except FileExistsError:
        raise ConfigError(field, f"{path} exists already", "keep it, or move it away for a new identity") from None
    except OSError as error:
        raise ConfigError(
            field, f"{path} cannot be written ({error.strerror})", "run as root or name a file in a directory you own"
        ) from None
    return identity


def load_or_create_identity(path: str, field: str = "key_file", *, random: RandomBytes = os.urandom) -> Identity:
    """The key of ``path``, made on first use. Two processes starting at once end up with the same key."""
    if not os.path.lexists(path):
        try:
            return create_identity(path, field, random=random)
        except ConfigError:
            if not os.path.lexists(path):
                raise
    return load_identity(path, field)


def load_secret(path: str, field: str) -> str:
    """One line of printable text: a cluster secret or a join token. Raises ConfigError naming ``field``."""
    text = read_private(path, field).strip()
    if not text:
        raise ConfigError(field, f"{path} is empty", "write the secret into it as one line")
    if len(text.splitlines()) > 1 or not text.isprintable():
        raise ConfigError(field, f"{path} has more than one line of printable text", "write the secret as one line")
    return text
