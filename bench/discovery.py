"""Discovery of ROS 2 nodes (Fast DDS; also Cyclone DDS), with the profiles of `omni dds`, raw and across the overlay.

    python -m bench.discovery [--parts pair,late,outage,steady] [--repetitions 20] [--outages 3] [--window 30]
                              [--participants 10,20,50] [--engine kernel] [--vendor fast] [--out FILE]

pair      a talker and a listener on two robots begin at the same time: until the listener has heard
late      a listener begins while 10 talkers run on the other robot: until it has heard all of them
outage    a robot has no carrier for 30 s, longer than the lease: from its end until a message has come each way
steady    participants on 5 robots that only are there, one domain: packets a second on the underlay, between all robots

Subjects: `raw` (veth, without a tunnel), `without` (multicast: flood, spdp_cache: off), `with` (learn and on). They are
up at once and take turns. Times begin with the call that makes the later participant, which itself takes 0.1 s or so,
and are taken inside the processes; the interpreters run already. "steady" kills the Ganglia between two subjects,
and others take over, so both have the same participants.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.load import LoadMeter
from tools.dds_fleet import DdsFleet, Participants
from tools.dds_fleet.packets import crossing
from tools.dds_fleet.robots import underlay_environment
from tools.netlab import Host, Lab, unavailable, wait_for

SETTINGS: dict[str, dict[str, object]] = {
    "without": {"multicast": "flood", "spdp_cache": "off"},
    "with": {"multicast": "learn", "spdp_cache": "on"},
}
PARTS = ("pair", "late", "outage", "steady")
ROBOTS = 5  # of "steady"
TALKERS = 10  # of "late"
OUTAGE = 30.0  # s
QUIET = 15.0  # s from the last participant, or the last Ganglion, to the window
TIMEOUT = 60.0  # s
DOMAINS = {"pair": 1, "late": 2, "outage": 3, "steady": 0}


@dataclass
class Subject:
    name: str
    a: Participants
    b: Participants
    times: dict[str, list[float]] = field(default_factory=dict)

    def add(self, part: str, seconds: float) -> None:
        self.times.setdefault(part, []).append(seconds)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", default=",".join(PARTS))
    parser.add_argument("--repetitions", type=int, default=20)
    parser.add_argument("--outages", type=int, default=3)
    parser.add_argument("--window", type=float, default=30.0, help="s")
    parser.add_argument("--participants", default="10,20,50", help="multiples of 5, rising")
    parser.add_argument("--engine", default="kernel")
    parser.add_argument("--vendor", default="fast", choices=["fast", "cyclone"])
    parser.add_argument("--out", type=Path, default=None, help="JSON with every figure")
    arguments = parser.parse_args()
    arguments.parts = arguments.parts.split(",")
    arguments.participants = [int(word) for word in arguments.participants.split(",")]
    if unknown := set(arguments.parts) - set(PARTS):
        parser.error(f"no such part: {', '.join(sorted(unknown))}. There are {', '.join(PARTS)}")
    if any(count % ROBOTS for count in arguments.participants):
        parser.error(f"--participants must be multiples of {ROBOTS}")
    return arguments


def after(seconds: float) -> None:
    end = time.monotonic() + seconds
    wait_for(lambda: time.monotonic() >= end, seconds + TIMEOUT, "time to pass", poll=0.1)


# --- times ------------------------------------------------------------------------------------------------------------


@contextmanager
def subjects(lab: Lab, engine: str, vendor: str) -> Iterator[list[Subject]]:
    hosts = [lab.host(f"raw-{end}") for end in "ab"]
    fleets = {name: DdsFleet(lab, 2, f"{name}-", engine=engine, **settings) for name, settings in SETTINGS.items()}
    for fleet in fleets.values():
        fleet.start()
    raw = [Participants(host, vendor, underlay_environment(lab, host, vendor)) for host in hosts]
    found = [Subject("raw", *raw)]
    for name, fleet in fleets.items():
        found.append(Subject(name, *(fleet.participants(robot, vendor) for robot in fleet.robots)))
    for subject in found:
        subject.a.ready()
        subject.b.ready()
    yield found
    for fleet in fleets.values():
        fleet.stop()


def in_turns(found: list[Subject], repetitions: int, measure: Callable[[Subject, int], None]) -> None:
    for number in range(repetitions):
        for subject in found[number % len(found) :] + found[: number % len(found)]:
            measure(subject, number)


def pair(subject: Subject, number: int) -> None:
    talker, listener, topic = f"talker{number}", f"listener{number}", f"latched{number}"
    subject.a.talk(talker, topic, domain=DOMAINS["pair"], period=0)
    subject.b.listen(listener, topic, domain=DOMAINS["pair"])
    heard = subject.b.wait_heard(listener, talker, timeout=TIMEOUT)[0]
    subject.add("pair", heard.at - max(subject.a.began(talker), subject.b.began(listener)))
    subject.a.end(talker)
    subject.b.end(listener)


def late(subject: Subject, number: int) -> None:
    listener = f"late{number}"
    subject.b.listen(listener, "latched_late", domain=DOMAINS["late"])
    heard = subject.b.wait_heard(listener, count=TALKERS, timeout=TIMEOUT)
    subject.add("late", heard[-1].at - subject.b.began(listener))
    subject.b.end(listener)


def with_talkers(found: list[Subject], repetitions: int) -> None:
    for subject in found:
        for number in range(TALKERS):
            subject.a.talk(f"running{number}", "latched_late", domain=DOMAINS["late"], period=0)
        for number in range(TALKERS):
            subject.a.wait_for_event("made", f"running{number}")
    in_turns(found, repetitions, late)
    for subject in found:
        for number in range(TALKERS):
            subject.a.end(f"running{number}")


def outages(found: list[Subject], repetitions: int) -> None:
    """All subjects at the same time."""
    domain = DOMAINS["outage"]
    ways = [(s, here, there, f"out{n}") for s in found for n, (here, there) in enumerate(((s.a, s.b), (s.b, s.a)))]
    for _, here, there, topic in ways:
        here.talk(f"talker_{topic}", topic, domain=domain, period=0.02)
        there.listen(f"listener_{topic}", topic, domain=domain)
    for _, _, there, topic in ways:
        there.wait_heard(f"listener_{topic}", timeout=TIMEOUT)
    for _ in range(repetitions):
        for subject in found:
            subject.b.host.cut()
        after(OUTAGE)
        ended = {}
        for subject in found:
            ended[subject.name] = time.monotonic()
            subject.b.host.mend()
        for subject in found:
            first = max(
                there.wait_heard(f"listener_{topic}", since=ended[subject.name], timeout=TIMEOUT)[0].at
                for one, _, there, topic in ways
                if one is subject
            )
            subject.add("outage", first - ended[subject.name])
        after(2.0)


# --- packets ----------------------------------------------------------------------------------------------------------


def steady(lab: Lab, arguments: argparse.Namespace) -> dict[str, dict[str, dict[str, float]]]:
    """subject -> participants -> packets a second."""
    fleet = DdsFleet(lab, ROBOTS, "steady-", engine=arguments.engine, **SETTINGS["with"])
    fleet.start()
    on = [fleet.participants(robot, arguments.vendor).ready() for robot in fleet.robots]
    rates: dict[str, dict[str, dict[str, float]]] = {name: {} for name in SETTINGS}
    there = 0
    names = list(SETTINGS)[::-1]  # "with" runs
    for count in [0, *arguments.participants]:
        for number in range(there, count):
            on[number % ROBOTS].quiet(f"quiet{number}", domain=DOMAINS["steady"])
        for number in range(there, count):
            on[number % ROBOTS].wait_for_event("made", f"quiet{number}", TIMEOUT)
        there = count
        for place, name in enumerate(names):
            if place:
                fleet.restart(**SETTINGS[name])
            after(QUIET)
            crossed = crossing(fleet.robots, lambda: after(arguments.window), f"{name}{count}")
            rates[name][str(count)] = {
                "multicast": sum(crossed.group.values()) / arguments.window,
                "unicast": sum(crossed.unicast.values()) / arguments.window,
            }
            print(f"steady, {name}, {count} participants: {rates[name][str(count)]}", file=sys.stderr)
        names.reverse()
    fleet.stop()
    return rates


# --- report -----------------------------------------------------------------------------------------------------------


def p50(values: list[float]) -> str:
    return f"{statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f})" if values else "-"


def print_times(times: Mapping[str, Mapping[str, list[float]]], parts: list[str]) -> None:
    print(f"| subject | {' | '.join(f'{part}, s' for part in parts)} |")
    print(f"|---|{'---|' * len(parts)}")
    for name, found in times.items():
        print(f"| `{name}` | {' | '.join(p50(found.get(part, [])) for part in parts)} |")


def print_rates(rates: Mapping[str, Mapping[str, Mapping[str, float]]]) -> None:
    counts = list(next(iter(rates.values())))
    print(f"| multicast + unicast packets a second | {' | '.join(counts)} participants |")
    print(f"|---|{'---|' * len(counts)}")
    for name, found in rates.items():
        cells = (f"{found[count]['multicast']:.1f} + {found[count]['unicast']:.1f}" for count in counts)
        print(f"| `{name}` | {' | '.join(cells)} |")


def main() -> None:
    arguments = parse()
    if (reason := unavailable()) is not None:
        sys.exit(f"bench.discovery: {reason}")
    results: dict[str, Any] = {"engine": arguments.engine, "vendor": arguments.vendor}
    timed = [part for part in arguments.parts if part != "steady"]
    if timed:
        with Lab("discovery") as lab, subjects(lab, arguments.engine, arguments.vendor) as found:
            meter = LoadMeter(namespaces(lab))
            if "pair" in timed:
                in_turns(found, arguments.repetitions, pair)
            if "late" in timed:
                with_talkers(found, arguments.repetitions)
            if "outage" in timed:
                outages(found, arguments.outages)
            results["times"] = {subject.name: subject.times for subject in found}
            report_load(results, "times", meter)
        print_times(results["times"], timed)
    if "steady" in arguments.parts:
        with Lab("discovery") as lab:
            meter = LoadMeter(namespaces(lab))
            results["steady"] = steady(lab, arguments)
            report_load(results, "steady", meter)
        print_rates(results["steady"])
    if arguments.out is not None:
        arguments.out.write_text(json.dumps(results, indent=1))


def namespaces(lab: Lab) -> set[int]:
    hosts: list[Host] = list(lab.hosts.values())
    return {os.stat(f"/run/netns/{host.namespace}").st_ino for host in hosts}


def report_load(results: dict[str, Any], part: str, meter: LoadMeter) -> None:
    load = meter.stop()
    machine = load.elapsed * (os.cpu_count() or 1)
    results[f"{part}_load"] = {"steal": load.steal / machine, "foreign": load.foreign / machine}
    print(f"{part}: {100 * load.steal / machine:.1f} % stolen, {100 * load.foreign / machine:.1f} % foreign")


if __name__ == "__main__":
    main()
