"""`omni nucleus`: a Nucleus in the foreground."""

from __future__ import annotations

import argparse
import asyncio
import logging
from collections.abc import Mapping

from omni_core.cli import exit_codes
from omni_core.cli.foreground import progress_lines, run_driver
from omni_core.cli.options import add_config_options, config_path, config_values
from omni_core.config import nucleus
from omni_core.config.nucleus import NucleusConfig
from omni_core.crypto.identity import key_text
from omni_core.engines.nucleus_status import ClusterStatus
from omni_core.io.config_file import load_nucleus
from omni_core.io.nucleus_driver import NucleusDriver

logger = logging.getLogger(__name__)

LOOK = 1.0  # s between two looks for a change worth a line

# Counter of a cluster -> what a rise of it means.
CHANGES = {"joins": "joined", "leaves": "left", "departures": "departed (heartbeats missed)", "refusals": "refused"}


def configure(parser: argparse.ArgumentParser) -> None:
    add_config_options(parser, nucleus.FIELDS, "nucleus")


def run(arguments: argparse.Namespace) -> int:
    values = config_values(arguments, nucleus.FIELDS)
    config = load_nucleus(config_path(arguments, "nucleus"), values, arguments.node)
    with progress_lines("debug" in arguments):
        asyncio.run(_run(config))
    return exit_codes.OK


async def _run(config: NucleusConfig) -> None:
    driver = NucleusDriver(config)
    watching: list[asyncio.Task[None]] = []

    def on_active() -> None:
        clusters = ", ".join(f"{c.name} ({'open' if c.open else 'secret'})" for c in driver.status().clusters)
        logger.info("Nucleus on UDP port %d, clusters: %s", driver.port, clusters)
        logger.info("key %s", key_text(driver.public_key))
        watching.append(asyncio.create_task(_watch(driver)))

    try:
        await run_driver(driver, on_active)
    finally:
        for task in watching:
            task.cancel()
    logger.info("Nucleus stopped")


async def _watch(driver: NucleusDriver) -> None:
    before = {cluster.name: counters(cluster) for cluster in driver.status().clusters}
    while driver.state.value == "active":
        await asyncio.sleep(LOOK)
        for cluster in driver.status().clusters:
            if text := change(before[cluster.name], cluster):
                logger.info("%s", text)
                before[cluster.name] = counters(cluster)


def counters(cluster: ClusterStatus) -> dict[str, int]:
    """Copied: the engine counts on in the same object."""
    return {counter: getattr(cluster, counter) for counter in CHANGES}


def change(before: Mapping[str, int], cluster: ClusterStatus) -> str:
    """What happened since, as a line; "" for nothing."""
    risen = {word: getattr(cluster, counter) - before[counter] for counter, word in CHANGES.items()}
    text = ", ".join(f"{rise} {word}" for word, rise in risen.items() if rise)
    return f"{cluster.name}: {text}; {cluster.edges} there now" if text else ""
