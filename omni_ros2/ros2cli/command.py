"""`ros2 omni VERB`: each verb is the command `omni VERB`, with the same options, output and exit codes."""

from __future__ import annotations

import argparse
import importlib
from typing import Any

from ros2cli.command import CommandExtension, add_subparsers_on_demand
from ros2cli.verb import VerbExtension

from omni_core.cli.main import COMMANDS, report

VERBS = ("status", "peers", "sessions", "drops", "doctor", "wait", "token", "ping", "engine", "stop", "dds", "nucleus")
GROUP = "omni_ros2.verb"


class OmniCommand(CommandExtension):
    """The encrypted Ethernet between robots: its state, its peers, what is wrong with it."""

    def add_arguments(self, parser: argparse.ArgumentParser, cli_name: str, *, argv: Any = None) -> None:
        self._subparser = parser
        add_subparsers_on_demand(parser, cli_name, "_verb", GROUP, required=False, argv=argv)

    def main(self, *, parser: argparse.ArgumentParser, args: argparse.Namespace) -> int:
        if not hasattr(args, "_verb"):
            self._subparser.print_help()
            return 0
        return int(args._verb.main(args=args))


class Verb(VerbExtension):
    """Base of the verbs, which differ in their NAME only."""

    def add_arguments(self, parser: argparse.ArgumentParser, cli_name: str) -> None:
        parser.add_argument(
            "--debug", action="store_true", default=argparse.SUPPRESS, help="show tracebacks, debug logs"
        )
        self._module().configure(parser)

    def main(self, *, args: argparse.Namespace) -> int:
        """Exit code. An error is one line."""
        try:
            return int(self._module().run(args))
        except Exception as error:
            return report(error, "debug" in args)

    def _module(self) -> Any:
        return importlib.import_module(f"omni_core.cli.{self.NAME}")


def _verb(name: str) -> type[Verb]:
    # ros2cli shows the first line of the class's text as help, and keeps one instance for each class.
    return type(f"{name.capitalize()}Verb", (Verb,), {"__doc__": COMMANDS[name][0].upper() + COMMANDS[name][1:]})


StatusVerb, PeersVerb, SessionsVerb, DropsVerb = map(_verb, ("status", "peers", "sessions", "drops"))
DoctorVerb, WaitVerb, TokenVerb, PingVerb = map(_verb, ("doctor", "wait", "token", "ping"))
EngineVerb, StopVerb, DdsVerb, NucleusVerb = map(_verb, ("engine", "stop", "dds", "nucleus"))
