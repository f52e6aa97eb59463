"""`omni nucleus`: a Nucleus in the foreground; `omni nucleus COMMAND`: something of the one that runs here."""

from __future__ import annotations

import argparse
import asyncio
import logging

from omni_core.cli import exit_codes, nucleus_admin
from omni_core.cli.foreground import progress_lines, run_driver
from omni_core.cli.options import add_config_options, config_path, config_values
from omni_core.config import nucleus
from omni_core.config.nucleus import NucleusConfig
from omni_core.crypto.identity import key_text
from omni_core.io.config_file import load_nucleus
from omni_core.io.notify import READY, STOPPING, Watchdog, notify
from omni_core.io.nucleus_driver import NucleusDriver

logger = logging.getLogger(__name__)

END_TIME = 10.0  # s that an end takes at most, beside the drain

SUBCOMMANDS = {"admin": (nucleus_admin, "list, send away or shut out edges")}


def configure(parser: argparse.ArgumentParser) -> None:
    add_config_options(parser, nucleus.FIELDS, "nucleus")
    commands = parser.add_subparsers(title="commands for the Nucleus that runs here", metavar="COMMAND", required=False)
    for name, (module, help_line) in SUBCOMMANDS.items():
        subparser = commands.add_parser(name, help=help_line, description=help_line[0].upper() + help_line[1:] + ".")
        subparser.set_defaults(run_command=module.run)
        module.configure(subparser)


def run(arguments: argparse.Namespace) -> int:
    if "run_command" in arguments:
        return int(arguments.run_command(arguments))
    values = config_values(arguments, nucleus.FIELDS)
    config = load_nucleus(config_path(arguments, "nucleus"), values, arguments.node)
    with progress_lines("debug" in arguments, config.log_format):
        asyncio.run(_run(config))
    return exit_codes.OK


async def _run(config: NucleusConfig) -> None:
    driver = NucleusDriver(config)
    watchdog = Watchdog()

    def on_stopping() -> None:
        patience = round((config.drain_time + END_TIME) * 1e6)
        notify(STOPPING, f"EXTEND_TIMEOUT_USEC={patience}", "STATUS=draining")

    driver.on_stopping = on_stopping

    def on_active() -> None:
        clusters = ", ".join(f"{c.name} ({'open' if c.open else c.admits_by})" for c in driver.status().clusters)
        started = {
            "event": "started",
            "port": driver.port,
            "clusters": list(config.clusters),
            "http": driver.http_address,
        }
        logger.info("Nucleus on UDP port %d, clusters: %s", driver.port, clusters, extra={"omni": started})
        logger.info("key %s", key_text(driver.public_key))
        if driver.http_address:
            logger.info("metrics and health on http://%s", driver.http_address)
        watchdog.start()
        notify(READY, f"STATUS=UDP port {driver.port}, clusters: {clusters}")

    try:
        await run_driver(driver, on_active)
    finally:
        watchdog.stop()
    logger.info("Nucleus stopped", extra={"omni": {"event": "stopped"}})
