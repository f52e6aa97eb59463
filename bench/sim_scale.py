"""How long the simulator takes for a large fleet: register, heartbeat, talk pairwise on demand, with real cryptography.

    python -m bench.sim_scale [--edges N ...] [--minutes M] [--mesh-limit L ...] [--seed S] [--json FILE]

One line per run; every mesh limit with every number of edges. The default ends with the goal: 1,000 edges, 10 virtual
minutes, within 60 s on 2 cores (one is used).
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict

from omni_core.constants import MESH_LIMIT
from omni_core.sim.scale import run_scale


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--edges", type=int, nargs="+", default=[100, 300, 1000])
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--mesh-limit", type=int, nargs="+", default=[32, MESH_LIMIT])
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", help="write all results to this file")
    arguments = parser.parse_args()
    results = []
    for edges in arguments.edges:
        for mesh_limit in arguments.mesh_limit:
            result = run_scale(arguments.seed, edges, 60.0 * arguments.minutes, mesh_limit)
            print(f"mesh limit {mesh_limit}: {result.as_text()}", flush=True)
            results.append({"mesh_limit": mesh_limit, **asdict(result)})
    if arguments.json:
        with open(arguments.json, "w", encoding="utf-8") as file:
            json.dump(results, file, indent=2)


if __name__ == "__main__":
    main()
