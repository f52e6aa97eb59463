"""Secrets on their way in: from files, standard input ("-"), or the file named by OMNI_TOKEN_FILE. Never from argv.

Standard input becomes a file in memory (memfd) of mode 0600, so that everything behind takes a path and checks alike.
"""

from __future__ import annotations

import contextlib
import getpass
import os
import sys
from collections.abc import Iterator, Mapping

from omni_core.errors import ConfigError

STDIN = "-"
TOKEN_FILE_VARIABLE = "OMNI_TOKEN_FILE"
INPUT_MAX = 4096  # characters


@contextlib.contextmanager
def secret_path(given: str, field: str) -> Iterator[str]:
    """The path to read a secret from: ``given`` made absolute, or for "-" a file in memory, valid inside the block."""
    if given != STDIN:
        yield os.path.abspath(os.path.expanduser(given))
        return
    fd = os.memfd_create("omni-secret")
    try:
        os.fchmod(fd, 0o600)
        os.write(fd, _read_stdin(field).encode())
        path = f"/proc/self/fd/{fd}"
        try:
            yield path
        except ConfigError as error:
            raise ConfigError(error.field, error.problem.replace(path, "standard input"), error.fix) from None
    finally:
        os.close(fd)


def token_file_of_environment(environment: Mapping[str, str] = os.environ) -> str | None:
    return environment.get(TOKEN_FILE_VARIABLE) or None


def _read_stdin(field: str) -> str:
    if sys.stdin is None or sys.stdin.closed:
        raise ConfigError(field, "standard input is closed", "pipe the text in, or give the path of a file")
    if sys.stdin.isatty():
        return getpass.getpass(f"{field} (not shown): ")
    try:
        return sys.stdin.read(INPUT_MAX)
    except UnicodeDecodeError:
        raise ConfigError(field, "standard input is not text", "pipe the text in, or give the path of a file") from None
