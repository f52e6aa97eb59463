"""Small files that must survive a power cut whole: read with a bound, written beside and moved into place."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Callable

from omni_core.errors import ConfigError

PRIVATE_MODE = 0o600
PRIVATE_MAX = 4096  # bytes; keys, tokens and secrets are far shorter


def write_atomic(path: str, content: str | bytes, mode: int = PRIVATE_MODE, *, replace: bool = True) -> None:
    """Write beside ``path``, sync, then move into place. A reader sees the old file or the new one, never a part.

    With ``replace=False`` an existing file wins and FileExistsError is raised. Raises OSError otherwise.
    """
    directory = os.path.dirname(os.path.abspath(path))
    temporary = os.path.join(directory, f".{os.path.basename(path)}.{os.getpid()}.{os.urandom(4).hex()}")
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    try:
        try:
            os.fchmod(fd, mode)  # whatever the umask took away
            rest = content if isinstance(content, bytes) else content.encode()
            while rest:
                rest = rest[os.write(fd, rest) :]
            os.fsync(fd)
        finally:
            os.close(fd)
        if replace:
            os.rename(temporary, path)
        else:
            os.link(temporary, path)
            os.unlink(temporary)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    _sync_directory(directory)


def read_private(path: str, field: str) -> str:
    """The text of a file that only its owner may read; checked on the opened file, so that nothing changes in between.

    Raises ConfigError naming ``field`` when it is missing, unreadable, open to others, not a file, too long or no text;
    FileNotFoundError never escapes.
    """

    def check(info: os.stat_result) -> None:
        if info.st_uid not in (0, os.geteuid()):
            raise ConfigError(field, f"{path} belongs to uid {info.st_uid}", f"chown {os.geteuid()} {path}")
        if info.st_mode & 0o077:
            raise ConfigError(
                field, f"{path} is open to other users (mode {stat.S_IMODE(info.st_mode):04o})", f"chmod 600 {path}"
            )

    return read_checked(
        path, field, PRIVATE_MAX, check,
        missing="give the path of an existing file",
        denied=f"chown it to uid {os.geteuid()}",
        not_text="give the right file, or restore it from a copy",
    )  # fmt: skip


def read_checked(
    path: str,
    field: str,
    size_max: int,
    check: Callable[[os.stat_result], None],
    *,
    missing: str,
    denied: str,
    not_text: str,
) -> str:
    """The text of a regular file that passes ``check``, of at most ``size_max`` bytes. ``missing``, ``denied``,
    ``not_text``: what to do about a file that is not there, may not be read, or is no text.

    Raises ConfigError naming ``field``, and what ``check`` raises.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)  # a fifo must not hang the start
    except FileNotFoundError:
        raise ConfigError(field, f"{path} does not exist", missing) from None
    except OSError as error:
        raise ConfigError(field, f"{path} cannot be read ({error.strerror})", denied) from None
    try:
        info = os.fstat(fd)
        if not stat.S_ISREG(info.st_mode):
            raise ConfigError(field, f"{path} is not a regular file", "give the path of a file")
        check(info)
        if info.st_size > size_max:
            raise ConfigError(field, f"{path} has {info.st_size} bytes, more than {size_max}", "give the right file")
        with open(fd, "rb", closefd=False) as file:
            return file.read(size_max + 1).decode()
    except UnicodeDecodeError:
        raise ConfigError(field, f"{path} is not text", not_text) from None
    finally:
        os.close(fd)


def make_directory(path: str, field: str, mode: int = 0o755) -> None:
    """Create it with its parents. Raises ConfigError naming ``field``."""
    try:
        os.makedirs(path, mode, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            field, f"the directory {path} cannot be made ({error.strerror})", "run as root or name a directory you own"
        ) from None


def _sync_directory(directory: str) -> None:
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    except OSError:
        pass  # some file systems cannot; the rename itself is still atomic
    finally:
        os.close(fd)
