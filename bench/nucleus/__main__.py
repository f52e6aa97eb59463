"""What a Nucleus can do, measured: `make bench-nucleus`, or

    python -m bench.nucleus [--parts saturation,cost,cycle,live,failover] [--repetitions 3] [--edges 10,100,1000,10000]
        [--live-edges 10000] [--failover-edges 2000] [--seconds 120] [--seed 1]

Real Nucleus processes and real UDP on loopback, but for ``cost`` and ``cycle``, which run the same engines on virtual
time. Tables on the terminal; bench/results/<time>/ gets nucleus.json, nucleus.txt and a plot. Needs no privilege.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bench.load import TICK, processors
from bench.nucleus import cycle, live, saturation
from bench.nucleus.tables import as_text
from omni_core.constants import HEARTBEAT_INTERVAL

RESULTS = Path(__file__).resolve().parents[1] / "results"
PARTS = ("saturation", "cost", "cycle", "live", "failover")
EDGES_OF_CLUSTER = 1000


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    from bench.nucleus.engine_cost import Bench

    def clusters(edges: int) -> int:
        return max(1, edges // EDGES_OF_CLUSTER)

    parts: dict[str, Callable[[], Any]] = {
        "saturation": lambda: saturation.measure(arguments.repetitions, arguments.seed),
        "cost": lambda: [asdict(Bench(n, clusters(n), "rss").run()) for n in arguments.edges if n >= 100],
        "cycle": lambda: [cycle.measure(n, clusters(n), arguments.seed) for n in arguments.edges],
        "live": lambda: asyncio.run(
            live.steady(arguments.live_edges, arguments.seconds, arguments.seed, arguments.rate)
        ),
        "failover": lambda: asyncio.run(live.failover(arguments.failover_edges, arguments.seed)),
    }
    results: dict[str, Any] = {
        "machine": {"cpus": os.cpu_count(), "kernel": platform.release(), "python": platform.python_version()},
        "heartbeat_interval": HEARTBEAT_INTERVAL,
    }
    (busy, steal), began = processors(), time.monotonic()
    for name in PARTS:
        if name in arguments.parts:
            print(f"{name} ...", flush=True)
            results[name] = parts[name]()
    now = processors()
    elapsed = (time.monotonic() - began) * (os.cpu_count() or 1)
    results["machine"]["busy_share"] = (now[0] - busy) * TICK / elapsed
    results["machine"]["steal_share"] = (now[1] - steal) * TICK / elapsed
    results["machine"]["load_average"] = os.getloadavg()[0]
    return results


def main() -> None:
    def numbers(text: str) -> list[int]:
        return [int(each) for each in text.split(",")]

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", type=lambda text: text.split(","), default=list(PARTS))
    parser.add_argument("--repetitions", type=int, default=3, help="of the saturation, the median counts")
    parser.add_argument("--edges", type=numbers, default=[10, 100, 1000, 10000])
    parser.add_argument("--live-edges", type=int, default=10000)
    parser.add_argument("--rate", type=float, default=200.0, help="registrations begun a second, live")
    parser.add_argument("--failover-edges", type=int, default=2000)
    parser.add_argument("--seconds", type=float, default=120.0, help="of the live measurement")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    results = measure(arguments)
    directory = RESULTS / time.strftime("%Y-%m-%d-%H%M%S-nucleus")
    directory.mkdir(parents=True)
    (directory / "nucleus.json").write_text(json.dumps(results, indent=2))
    text = as_text(results)
    (directory / "nucleus.txt").write_text(text)
    print(text)
    if "cycle" in results:
        from bench.nucleus.cycle_plot import draw

        try:
            print(draw(results["cycle"], directory))
        except ImportError:
            print("no plot: matplotlib is not installed")


if __name__ == "__main__":
    main()
