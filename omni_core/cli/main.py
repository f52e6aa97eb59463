"""Entry point of `omni`: finds the command, runs it, turns every error into one line and an exit code."""

from __future__ import annotations

import argparse
import difflib
import importlib
import os
import sys
import traceback
from collections.abc import Sequence
from types import ModuleType
from typing import Any, NoReturn

from omni_core.cli import exit_codes
from omni_core.errors import ConfigError, OmniError, SystemRefused
from omni_core.version import version

# Command -> its line in the help. A command's module is imported only when it is called: `omni doctor` has to run where
# a package that `omni up` needs is missing.
COMMANDS = {
    "keygen": "make the key of a robot or of a Nucleus",
    "token": "make the join token of a cluster",
    "nucleus": "run a Nucleus in the foreground",
    "up": "run a Ganglion in the foreground: join the cluster",
    "stop": "end the running Ganglion",
    "engine": "say or switch what moves the frames of the running Ganglion",
    "status": "show the running Ganglion",
    "peers": "list the peers of the running Ganglion",
    "sessions": "list the sessions of the running Ganglion",
    "drops": "say what the running Ganglion dropped, and why",
    "ping": "measure the round trip to a peer through its session",
    "wait": "wait until peers have sessions (for bringup scripts)",
    "dds": "make DDS profiles for the overlay, or check DDS with a peer",
    "doctor": "check whether this machine can run omni, and what would help",
}

PACKAGE_OF_MODULE = {"nacl": "pynacl", "noise": "noiseprotocol", "yaml": "pyyaml"}


class Parser(argparse.ArgumentParser):
    """Errors as one line of `omni`. Options are never abbreviated: --secret must not pass for --secret-file."""

    def __init__(self, **options: Any) -> None:
        super().__init__(allow_abbrev=False, **options)

    def error(self, message: str) -> NoReturn:
        raise ConfigError("command line", message, f"see {self.prog} --help")


def main(argv: Sequence[str] | None = None) -> NoReturn:
    arguments = sys.argv[1:] if argv is None else list(argv)
    debug = "--debug" in arguments
    try:
        code = run(arguments)
        sys.stdout.flush()
    except KeyboardInterrupt:
        code = exit_codes.INTERRUPTED
    except BrokenPipeError:
        # The reader (`omni peers | head`) has what it wanted. Python would complain again when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = exit_codes.OK
    except Exception as error:
        code = report(error, debug)
    sys.exit(code)


def run(arguments: Sequence[str]) -> int:
    """Exit code. Raises what the command raises."""
    name = next((word for word in arguments if not word.startswith("-")), None)
    if name is not None and name not in COMMANDS:
        raise _unknown_command(name)
    module = importlib.import_module(f"omni_core.cli.{name}") if name else None
    parser = make_parser(name, module)
    parsed, unknown = parser.parse_known_args(arguments)
    if unknown:
        raise _unknown_arguments(unknown, name)
    if module is None:
        parser.print_help()
        return exit_codes.OK
    return int(module.run(parsed))


def make_parser(name: str | None, module: ModuleType | None) -> argparse.ArgumentParser:
    """All commands with their help line; only the chosen one has its options."""
    common = Parser(add_help=False)
    common.add_argument(
        "--debug", action="store_true", default=argparse.SUPPRESS, help="show the traceback of an error, and debug logs"
    )
    parser = Parser(
        prog="omni", description="An encrypted Ethernet between robots.", parents=[common],
        epilog="Exit codes and examples: docs/cli.md",
    )  # fmt: skip
    parser.add_argument("--version", action="version", version=f"omni {version()}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", parser_class=Parser)
    for command, help_line in COMMANDS.items():
        subparser = commands.add_parser(
            command, help=help_line, description=help_line[0].upper() + help_line[1:] + ".", parents=[common]
        )
        if command == name and module is not None:
            module.configure(subparser)
    return parser


def report(error: Exception, debug: bool) -> int:
    """One line on stderr, never a traceback unless asked for."""
    if debug:
        traceback.print_exception(error)
    if isinstance(error, OmniError):
        print(f"omni: {error}", file=sys.stderr)
        return error.exit_code
    if isinstance(error, ModuleNotFoundError) and error.name and not error.name.startswith("omni"):
        package = PACKAGE_OF_MODULE.get(error.name.partition(".")[0], error.name.partition(".")[0])
        missing = SystemRefused("python", f"the package {package} is not installed", f"pip install {package}")
        print(f"omni: {missing}", file=sys.stderr)
        return missing.exit_code
    detail = f"{type(error).__name__}: {error}".replace("\n", " ")
    print(f"omni: unexpected error: {detail}. Fix: repeat it with --debug and report it", file=sys.stderr)
    return exit_codes.FAILED


def _unknown_command(name: str) -> ConfigError:
    close = difflib.get_close_matches(name, COMMANDS, n=1)
    hint = f" (did you mean {close[0]!r}?)" if close else ""
    return ConfigError("command line", f"no such command{hint}", f"use one of {', '.join(COMMANDS)}")


def _unknown_arguments(unknown: Sequence[str], name: str | None) -> ConfigError:
    """Values are not repeated: one of them may be a secret."""
    options = [word.partition("=")[0] for word in unknown if word.startswith("-")]
    if any("secret" in option or "token" in option for option in options):
        return ConfigError(
            "command line", f"unknown option {', '.join(options)}",
            "write the secret into a file of mode 0600 and name that file: every user sees a command line",
        )  # fmt: skip
    problem = f"unknown option {', '.join(options)}" if options else "more arguments than expected"
    return ConfigError("command line", problem, f"see omni {name + ' ' if name else ''}--help")
