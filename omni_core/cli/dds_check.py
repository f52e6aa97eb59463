"""`omni dds --check` and `--echo`: run the probe of omni_ros2 as a process, look on, and say what is wrong."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from omni_core.cli import exit_codes, output
from omni_core.cli.dds import chosen_rmw, need_ros
from omni_core.cli.peers import label
from omni_core.dds.diagnosis import ENVIRONMENT, Facts, before, reasons, remarks
from omni_core.dds.overlay import Overlay, read_vip6
from omni_core.dds.profiles import PROFILE_VARIABLES
from omni_core.errors import ConfigError, SystemRefused
from omni_core.io.dds_facts import addresses, bad_settings, local_only_processes, profile_of
from omni_core.io.dds_files import write_profile
from omni_core.io.rtps_watch import RtpsWatch

PROBE = [sys.executable, "-m", "omni_ros2.dds_probe"]
PARTS = 4  # of a check: discovery, small messages, a large one each way
START = 20.0  # s that the process may need besides
COLOUR = re.compile(r"\x1b\[[0-9;]*m")


def echo(arguments: argparse.Namespace, status: Mapping[str, Any] | None, overlay: Overlay) -> int:
    need_ros()
    if overlay.vip6 is None:
        raise ConfigError("vip6", "is not known", "start the Ganglion (omni up), or give --vip6")
    with _scratch() as directory:
        environment = _environment(arguments, overlay, directory)
        command = [*PROBE, "echo", "--vip6", str(overlay.vip6), "--interface", overlay.interface]
        process = subprocess.Popen(command, env=environment)
        try:
            return exit_codes.OK if process.wait() == 0 else exit_codes.FAILED
        except KeyboardInterrupt:
            return exit_codes.OK
        finally:
            process.terminate()  # no-op for one that has ended
            process.wait()


def check(arguments: argparse.Namespace, status: Mapping[str, Any] | None, overlay: Overlay) -> int:
    peer = choose_peer(status, arguments.peer)
    vip6 = read_vip6(str(peer["vip6"]))
    if vip6 is None:
        raise ConfigError("peer", "has no VIP6", "name a peer that omni peers shows")
    with _scratch() as directory:
        environment = _environment(arguments, overlay, directory)
        facts = _facts(peer, overlay, environment)
        wrong = before(facts)
        if not wrong:
            need_ros()
            there = [peer["vip4"], peer["vip6"]] if peer["vip4"] or overlay.uses_ipv6 else []
            vip4 = "" if overlay.uses_ipv6 else str(overlay.vip4 or "")
            with RtpsWatch(overlay.interface, vip4, there, facts.domain) as watch:
                result, said = _probe(str(vip6), overlay.interface, arguments.timeout, environment)
            facts = replace(facts, wire=watch.seen, result=result, said=said)
            wrong = reasons(facts)
        _show(arguments.json, facts, wrong, remarks(facts))
        return exit_codes.FAILED if wrong else exit_codes.OK


@contextlib.contextmanager
def _scratch() -> Iterator[str]:
    """A directory for profiles. SIGTERM and SIGHUP end the block as Ctrl-C does, so that nothing is left behind."""

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        with tempfile.TemporaryDirectory(prefix="omni-dds-") as directory:
            yield directory
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def choose_peer(status: Mapping[str, Any] | None, given: str | None) -> Mapping[str, Any]:
    """A peer as in the status. Without a Ganglion only a VIP6 can be named. Raises ConfigError, SystemRefused."""
    if status is None:
        vip6 = read_vip6(given or "") if given and ":" in given else None
        if vip6 is None:
            raise SystemRefused(
                "admin socket", "no Ganglion answers here", "start it (omni up), use sudo, or give --peer a VIP6"
            )
        return {"name": given, "vip4": "", "vip6": str(vip6), "state": "unknown", "domains": []}
    peers: Sequence[Mapping[str, Any]] = status["peers"]
    if given is None:
        found = [peer for peer in peers if peer["state"] == "up"]
    else:
        found = [peer for peer in peers if given in (peer["name"], peer["vip4"], peer["vip6"])]
    if len(found) != 1:
        names = ", ".join(label(peer) for peer in peers) or "nobody"
        which = "up" if given is None else f"called {given!r}"
        raise ConfigError("peer", f"{len(found)} peers are {which}", f"name one of: {names}")
    return found[0]


def _environment(arguments: argparse.Namespace, overlay: Overlay, directory: str) -> dict[str, str]:
    """This shell's, unless options say otherwise: with --rmw a profile as `omni dds --write` makes it."""
    environment = dict(os.environ)
    if arguments.rmw is not None:
        for name in PROFILE_VARIABLES.values():
            environment.pop(name, None)
        environment.update(write_profile(overlay, chosen_rmw(arguments.rmw), directory))
    if arguments.domain is not None:
        environment["ROS_DOMAIN_ID"] = str(arguments.domain)
    environment["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
    return environment


def _facts(peer: Mapping[str, Any], overlay: Overlay, environment: Mapping[str, str]) -> Facts:
    of_interface, of_machine = addresses(overlay.interface)
    domain = environment.get("ROS_DOMAIN_ID", "") or "0"
    if not (domain.isascii() and domain.isdigit() and int(domain) <= 232):
        raise ConfigError("domain", f"{domain!r} is no ROS domain", "use 0..101")
    return Facts(
        peer=label({"name": "", "vip4": "", "public_key": "", **peer}),
        session=peer["state"],
        interface=overlay.interface,
        addresses=of_interface,
        machine_addresses=of_machine,
        domain=int(domain),
        peer_domains=peer.get("domains", []),
        environment={name: environment[name] for name in ENVIRONMENT if name in environment},
        profile=profile_of(environment),
        settings=bad_settings(),
        local_only=local_only_processes(int(domain)),
    )


def _probe(vip6: str, interface: str, timeout: float, environment: Mapping[str, str]) -> tuple[dict[str, Any], str]:
    """(result, errors that DDS printed). Raises SystemRefused when the process did not get that far."""
    command = [*PROBE, "check", "--vip6", vip6, "--interface", interface, "--timeout", str(timeout)]
    try:
        done = subprocess.run(
            command, env=dict(environment), capture_output=True, text=True, errors="replace",
            timeout=START + PARTS * timeout,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise SystemRefused("dds_probe", "did not end in time", "repeat it; see the machine's load") from None
    lines = COLOUR.sub("", done.stdout + done.stderr).splitlines()
    errors = "; ".join(dict.fromkeys(line.strip() for line in lines if "Error]" in line or "[ERROR]" in line))[:500]
    answers = [line for line in done.stdout.splitlines() if line.startswith("{")]
    if done.returncode != 0 or not answers:
        last = lines[-1] if lines else f"exit code {done.returncode}"
        raise SystemRefused("dds_probe", errors or last, "see omni doctor, and the DDS profile that is exported")
    return json.loads(answers[-1]), errors


def _show(as_json: bool, facts: Facts, wrong: Sequence[str], remarked: Sequence[str]) -> None:
    if as_json:
        output.print_json(
            {"ok": not wrong, "peer": facts.peer, "domain": facts.domain, "result": dict(facts.result),
             "reasons": list(wrong), "remarks": list(remarked)}
        )  # fmt: skip
        return
    result = facts.result
    rtts: Sequence[float] = result.get("rtts_s", ())
    if result:
        here, peer = result["here"], result["peer"]
        output.line(f"{facts.peer}, domain {facts.domain}, {here['rmw']}{_other(here, peer)}")
        output.line(f"discovery        {_time(result['discovery_s'])}")
        mean = sum(rtts) / len(rtts) if rtts else None
        output.line(f"reliable data    {len(rtts)} of {result['rounds']}, round trip {_time(mean)}")
        size = output.size(result["large_bytes"])
        output.line(f"{size} there     {_time(result['large_out_s'])}")
        output.line(f"{size} back      {_time(result['large_in_s'])}")
    for text in wrong:
        output.line(f"problem: {text}")
    for text in remarked:
        output.line(f"remark: {text}")
    if not wrong:
        output.line("DDS works")


def _other(here: Mapping[str, str], peer: Mapping[str, str]) -> str:
    if not peer or peer == here:
        return ""
    return f" (there: {', '.join(value for key, value in peer.items() if value and value != here.get(key))})"


def _time(value: float | None) -> str:
    return "not within the time" if value is None else output.duration(value)
