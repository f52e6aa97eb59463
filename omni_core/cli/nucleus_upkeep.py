"""`omni nucleus admin drain`, `backup` and `restore`."""

from __future__ import annotations

import argparse
import os
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

from omni_core.cli import output
from omni_core.cli.options import nucleus_socket
from omni_core.errors import ConfigError
from omni_core.io import admin
from omni_core.io.files import write_atomic
from omni_core.io.nucleus_state import NucleusState, decode_state, encode_state

FILE_MAX = 64 << 20  # bytes
BATCH = 3000  # leases, or keys that are shut out, in one request, which the admin socket bounds
PATIENCE = 10.0  # s that an answer may take besides what was asked for

Verb = Callable[..., argparse.ArgumentParser]


def add_verbs(verbs: Any, verb: Verb) -> None:
    """``verb``: makes the parser of one."""
    drain = verb(verbs, "drain", "tell the edges to go to another Nucleus, and wait until they have", _drain)
    drain.add_argument(
        "--time", type=float, metavar="S", help="at most this long (default: drain_time of the configuration)"
    )
    backup = verb(verbs, "backup", "write leases and the deny list into a file", _backup)
    backup.add_argument("file", metavar="FILE", help="replaced at once; mode 0600")
    restore = verb(verbs, "restore", "take leases and the deny list back from a file", _restore)
    restore.add_argument("file", metavar="FILE", help="that backup wrote")


def _drain(arguments: argparse.Namespace) -> None:
    given = {} if arguments.time is None else {"time": arguments.time}
    answer = _ask(arguments, "drain", (arguments.time if arguments.time is not None else 600.0) + PATIENCE, **given)
    if arguments.json:
        output.print_json(answer)
        return
    left = answer["left"]
    output.line(
        f"drained in {answer['took_s']:.1f} s: "
        + (f"{left} of {answer['edges']} edges are still here, and served until it stops" if left else "nobody is here")
    )


def _backup(arguments: argparse.Namespace) -> None:
    answer = _ask(arguments, "backup", 60.0)
    try:
        write_atomic(os.path.abspath(arguments.file), answer["state"])
    except OSError as error:
        raise ConfigError(
            "FILE", f"{arguments.file} cannot be written ({error.strerror})", "name a file in a directory you own"
        ) from None
    leases = sum(answer["leases"].values())
    if arguments.json:
        output.print_json({"file": arguments.file, "leases": answer["leases"], "denied": answer["denied"]})
    else:
        output.line(f"{arguments.file}: {leases} leases, {answer['denied']} keys that are shut out")


def _restore(arguments: argparse.Namespace) -> None:
    counts: Counter[str] = Counter()
    unknown: Counter[str] = Counter()
    held: list[dict[str, str]] = []
    for part in _batches(_read(arguments.file)):
        answer = _ask(arguments, "restore", 60.0, state=encode_state(part))
        counts.update({name: answer[name] for name in ("restored", "denied", "there", "expired", "held")})
        unknown.update(answer["unknown_clusters"])
        held += answer["held_leases"]
    if arguments.json:
        output.print_json({**counts, "unknown_clusters": dict(unknown), "held_leases": held})
        return
    output.line(f"{counts['restored']} leases restored, {counts['denied']} keys shut out")
    for name, text in (("there", "are there already"), ("expired", "have run out"), ("held", "are held otherwise now")):
        if counts[name]:
            output.line(f"left out: {counts[name]} that {text}")
    for lease in held:
        output.line(f"  {lease['cluster']} {lease['vip4']} of {lease['public_key']}")
    for cluster, number in unknown.items():
        output.line(f"left out: {number} of cluster {cluster}, which this Nucleus does not serve")


def _read(path: str) -> NucleusState:
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read(FILE_MAX + 1)
    except OSError as error:
        raise ConfigError("FILE", f"{path} cannot be read ({error.strerror})", "give the file of a backup") from None
    except UnicodeDecodeError:
        raise ConfigError("FILE", f"{path} is not text", "give the file of a backup") from None
    if len(text) > FILE_MAX:
        raise ConfigError("FILE", f"{path} is longer than {FILE_MAX >> 20} MiB", "give the file of a backup")
    return decode_state(text, path)


def _batches(state: NucleusState) -> Iterator[NucleusState]:
    """At least one."""
    denied = list(state.denied)
    yield NucleusState({}, denied[:BATCH])
    for at in range(BATCH, len(denied), BATCH):
        yield NucleusState({}, denied[at : at + BATCH])
    for cluster, leases in state.leases.items():
        for at in range(0, len(leases), BATCH):
            yield NucleusState({cluster: leases[at : at + BATCH]})


def _ask(arguments: argparse.Namespace, command: str, timeout: float, **values: object) -> Any:
    return admin.request(nucleus_socket(arguments), command, timeout, **values)
