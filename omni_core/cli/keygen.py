"""`omni keygen`: an identity in a file of mode 0600, and what follows from it."""

from __future__ import annotations

import argparse
import os

from omni_core.cli import exit_codes, output
from omni_core.config.ganglion import FIELDS
from omni_core.crypto.identity import Identity, key_text
from omni_core.errors import ConfigError
from omni_core.io.keyfile import create_identity, load_identity
from omni_core.types import format_mac

DEFAULT_KEY_FILE = next(str(field.default) for field in FIELDS if field.name == "key_file")


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "key_file", nargs="?", default=DEFAULT_KEY_FILE, metavar="FILE", help=f"key file (default {DEFAULT_KEY_FILE})"
    )
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--force", action="store_true", help="replace an existing key: this robot gets another identity")
    what.add_argument("--show", action="store_true", help="show the public side of an existing key; write nothing")
    parser.add_argument("--json", action="store_true", help="machine-readable output")


def run(arguments: argparse.Namespace) -> int:
    path = os.path.abspath(arguments.key_file)
    if arguments.show:
        identity = load_identity(path)
    elif os.path.lexists(path) and not arguments.force:
        raise ConfigError(
            "key_file", f"{path} exists already", "keep it (omni keygen --show), or give --force for another identity"
        )
    else:
        identity = create_identity(path, replace=arguments.force)
    facts = public_facts(identity, path)
    identity.wipe()
    if arguments.json:
        output.print_json(facts)
    else:
        for name, value in facts.items():
            output.line(f"{name.replace('_', ' '):<11} {value}")
    return exit_codes.OK


def public_facts(identity: Identity, path: str) -> dict[str, str]:
    """Nothing secret."""
    return {
        "key_file": path,
        "public_key": key_text(identity.public_key),
        "vip6": str(identity.vip6),
        "mac": format_mac(identity.mac),
    }
