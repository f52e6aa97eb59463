"""All edges at one moment: after a restart of the Nucleus, and a site that is switched on behind one NAT.

    python -m bench.nucleus.herd [--edges N] [--clusters K] [--loss P] [--slower F] [--seed S]

Virtual time, real engines and cryptography; the Nucleus needs the CPU time that was measured (omni_core/sim/herd.py),
``--slower`` times as much.
"""

from __future__ import annotations

import argparse
import time

from omni_core.sim.herd import Costs, Herd


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--edges", type=int, default=10000)
    parser.add_argument("--clusters", type=int, default=10)
    parser.add_argument("--loss", type=float, default=0.01)
    parser.add_argument("--slower", type=float, nargs="+", default=[1.0, 3.0])
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    for slower in arguments.slower:
        for same_site in (False, True):
            where = "behind one NAT" if same_site else "everywhere"
            herd = Herd(
                arguments.seed,
                arguments.edges,
                arguments.clusters,
                same_site=same_site,
                loss=arguments.loss,
                costs=Costs().slower(slower),
            )
            began = time.perf_counter()
            herd.start_all(1.0)
            herd.run(300, until_registered=True)
            print(f"{slower:g} x the work, {where}, switched on: {herd.report.as_text()}", flush=True)
            herd.run(60)
            print(f"    (settled: {herd.registered} registered)", flush=True)
            for down in (0.5, 60.0):
                herd.crash()
                herd.run(down)
                herd.restart()
                herd.watch()
                herd.run(300, until_registered=True)
                print(f"    down for {down:g} s: {herd.report.as_text()}", flush=True)
                herd.run(60)
            print(f"    (simulated in {time.perf_counter() - began:.0f} s)", flush=True)


if __name__ == "__main__":
    main()
