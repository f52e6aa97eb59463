"""`omni token`: the join token of a cluster, from what the Nucleus has."""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from typing import TypeVar

from omni_core.cli import exit_codes, output
from omni_core.cli.inputs import STDIN, secret_path
from omni_core.config.values import parse_cluster, parse_host_port, parse_public_keys
from omni_core.crypto.token import JoinToken
from omni_core.errors import ConfigError
from omni_core.io.files import write_atomic
from omni_core.io.keyfile import load_identity, load_secret
from omni_core.types import PublicKey, nucleus_places

Parsed = TypeVar("Parsed")


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--cluster", required=True, help="name of the cluster")
    parser.add_argument(
        "--nucleus", required=True, action="append", metavar="HOST:PORT",
        help="where robots reach the Nucleus; once for each Nucleus, the preferred one first",
    )  # fmt: skip
    key = parser.add_mutually_exclusive_group(required=True)
    key.add_argument(
        "--nucleus-key", action="append", metavar="KEY[,KEY...]",
        help="public key of the Nuclei, or one of each in the same order",
    )  # fmt: skip
    key.add_argument(
        "--key-file", action="append", metavar="FILE",
        help="or its key file, from which only the public key is taken; once for all, or once for each Nucleus",
    )  # fmt: skip
    parser.add_argument(
        "--secret-file",
        metavar="FILE",
        help='file with the cluster\'s secret, "-": standard input. The token then carries it',
    )
    parser.add_argument(
        "--out", default=STDIN, metavar="FILE", help="write it to this file, mode 0600 (default: print it)"
    )
    parser.add_argument("--force", action="store_true", help="replace an existing file")


def run(arguments: argparse.Namespace) -> int:
    nucleus = tuple(_checked("nucleus", parse_host_port, text, 'write "host:port"') for text in arguments.nucleus)
    option, keys = _nucleus_keys(arguments)
    try:
        nucleus_places(nucleus, keys)
    except ValueError as error:
        raise ConfigError(
            option, str(error), f"give one --{option} for all of them, or one for each --nucleus in the same order"
        ) from None
    token = JoinToken(
        nucleus=nucleus,
        cluster=_checked("cluster", parse_cluster, arguments.cluster, "use a name such as warehouse"),
        nucleus_keys=keys,
        secret=_secret(arguments.secret_file),
    )
    if arguments.out == STDIN:
        output.line(token.format())
        return exit_codes.OK
    _write(os.path.abspath(arguments.out), token.format(), arguments.force)
    kept = "keep it as secret as a password" if token.secret is not None else "it holds no secret"
    output.line(f"{arguments.out}: token of the cluster {token.cluster}; {kept}")
    return exit_codes.OK


def _checked(option: str, parse: Callable[[str], Parsed], text: str, fix: str) -> Parsed:
    try:
        return parse(text)
    except ValueError as error:
        raise ConfigError(option, str(error), fix) from None


def _nucleus_keys(arguments: argparse.Namespace) -> tuple[str, tuple[PublicKey, ...]]:
    """-> the option that they are from, and they."""
    if arguments.key_file is None:
        option, fix = "nucleus-key", "copy what omni keygen printed there"
        texts = ",".join(arguments.nucleus_key)
        return option, _checked(option, parse_public_keys, texts, fix)
    return "key-file", tuple(map(_public_key, arguments.key_file))


def _public_key(path: str) -> PublicKey:
    identity = load_identity(os.path.abspath(path))
    identity.wipe()
    return identity.public_key


def _secret(given: str | None) -> bytes | None:
    if given is None:
        return None
    with secret_path(given, "secret-file") as path:
        return load_secret(path, "secret-file").encode()


def _write(path: str, text: str, force: bool) -> None:
    try:
        write_atomic(path, text + "\n", replace=force)
    except FileExistsError:
        raise ConfigError("out", f"{path} exists already", "choose another file, or give --force") from None
    except OSError as error:
        raise ConfigError(
            "out", f"{path} cannot be written ({error.strerror})", "name a file in a directory that you may write"
        ) from None
