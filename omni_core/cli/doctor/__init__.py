"""`omni doctor`: what this machine lets omni do, line by line, each with its fix. Works where packages are missing.

The checks are small functions in this package that return a Finding; here they are put in order and fed.
"""

from __future__ import annotations

import argparse
import contextlib
import ipaddress
import json
import os
import sys
import time
from collections.abc import Iterator, Mapping
from typing import Any

from omni_core.cli import exit_codes
from omni_core.cli.doctor import kernel, membership, network, ros, software, system
from omni_core.cli.doctor.finding import Finding, Level, Machine, ok, refused
from omni_core.cli.options import add_config_options, config_path, config_values
from omni_core.config import ganglion
from omni_core.config.schema import read_fields
from omni_core.errors import ConfigError, OmniError

_COLOURS = {Level.OK: "32", Level.NOTE: "2", Level.WARNING: "33", Level.PROBLEM: "31"}
_LEVEL_WIDTH = max(len(level.value) for level in Level) + 1
_MEMBERSHIP_KEYS = {"token_file", "cluster", "nucleus", "nucleus_key", "static_peers"}
_STATUS_TIMEOUT = 1.0  # s


def configure(parser: argparse.ArgumentParser) -> None:
    add_config_options(parser, ganglion.FIELDS, "ganglion")
    parser.add_argument("--json", action="store_true", help="machine-readable output")


def run(arguments: argparse.Namespace) -> int:
    findings = list(examine(Machine(), arguments))
    fatal = sum(finding.level is Level.PROBLEM for finding in findings)
    if arguments.json:
        print(json.dumps({"ok": not fatal, "findings": [finding.as_dict() for finding in findings]}, indent=2))
    else:
        show(findings, colour=sys.stdout.isatty() and not os.environ.get("NO_COLOR"))
    return exit_codes.FAILED if fatal else exit_codes.OK


def show(findings: list[Finding], *, colour: bool) -> None:
    """One line for each finding, with its fix below. Plain print: rich may be what is missing."""
    width = max(len(finding.check) for finding in findings)
    for finding in findings:
        level = f"{finding.level.value:<{_LEVEL_WIDTH}}"
        shown = f"\033[{_COLOURS[finding.level]}m{level}\033[0m" if colour else level
        print(f"{shown} {finding.check:<{width}}  {finding.text}")
        if finding.fix:
            print(f"{'':{_LEVEL_WIDTH}} {'':{width}}  fix: {finding.fix}")
    counts = {level: sum(finding.level is level for finding in findings) for level in Level}
    verdict = "omni cannot run here" if counts[Level.PROBLEM] else "omni can run here"
    print(f"{verdict}: {counts[Level.PROBLEM]} problems, {counts[Level.WARNING]} warnings, {counts[Level.NOTE]} notes")


def examine(machine: Machine, arguments: argparse.Namespace) -> Iterator[Finding]:
    """All checks, in the order of the output."""
    packages = software.packages()
    yield software.python_version()
    yield packages
    yield kernel.kernel_version(machine)
    yield kernel.net_admin(machine)
    yield kernel.tun_device(machine)
    if packages.level is Level.OK:
        yield from _examine_ganglion(machine, arguments)
    yield network.ipv6_enabled(machine)
    yield network.multicast_route(arguments.key_interface or "omni0")
    yield from system.sysctls(machine)
    yield system.shared_memory(machine)
    yield system.clock(time.time(), system.kernel_clock_synchronised())
    yield ros.distro(machine)
    yield from (finding for finding in (ros.messages(), ros.middleware(machine)) if finding is not None)
    yield ros.discovery(machine)
    if packages.level is Level.OK:
        yield from _examine_nodes(machine, arguments.key_interface or "omni0")
    yield software.bcc()
    yield software.kernel_headers(machine)
    yield kernel.bpf_capability(machine)
    yield kernel.bpf_file_system(machine)


def _examine_ganglion(machine: Machine, arguments: argparse.Namespace) -> Iterator[Finding]:
    """Configuration, its files, the interface, the port and the underlay."""
    # Imported here: behind these are the packages whose absence `doctor` reports.
    from omni_core.io.keyfile import load_identity, load_secret
    from omni_core.io.membership import load_token
    from omni_core.io.netlink import Netlink
    from omni_core.io.udp_bind import bind_all

    finding, values = _configuration(arguments)
    if finding is not None:
        yield finding
    yield software.native_engine(values["engine"] == "native")
    yield membership.key_file(values["key_file"], load_identity)
    if values["token_file"]:
        yield membership.readable("token_file", values["token_file"], load_token)
        with contextlib.suppress(OmniError):  # said above
            values = {**values, "nucleus": load_token(values["token_file"]).nucleus}
    if values["secret_file"]:
        yield membership.readable("secret_file", values["secret_file"], lambda path: load_secret(path, "secret_file"))
    yield system.run_directory(values["run_dir"])
    ganglion_runs = _ganglion_runs(ganglion.admin_socket(values["run_dir"], values["interface"]))
    yield network.overlay_interface(machine, values["interface"], ganglion_runs)
    port, addresses = values["listen_port"], values["listen_address"]
    yield network.udp_port(port, lambda: bind_all(port, addresses), ganglion_runs)
    hosts = [endpoint.host for endpoint in values["nucleus"]]
    yield from (network.host_name(host, network.resolves) for host in hosts if not _is_address(host))
    try:
        with Netlink() as netlink:
            numeric = [host for host in hosts if _is_address(host)]
            mtus = [link.mtu for link in netlink.links() if link.up and not link.loopback and not link.alias]
            yield network.underlay_mtu(netlink.mtu_towards, numeric, mtus, values["mtu"])
    except OmniError as error:
        yield refused("underlay MTU", error)


def _examine_nodes(machine: Machine, interface: str) -> Iterator[Finding]:
    from omni_core.io.dds_facts import local_only_processes

    domain = machine.environment.get("ROS_DOMAIN_ID", "") or "0"
    if domain.isascii() and domain.isdigit():
        finding = ros.early_nodes(local_only_processes(int(domain)), interface)
        if finding is not None:
            yield finding


def _configuration(arguments: argparse.Namespace) -> tuple[Finding | None, Mapping[str, Any]]:
    """(finding, each key with its value). No finding where nothing was configured; defaults where it is wrong."""
    from omni_core.io.config_file import load_ganglion, read_values

    path = config_path(arguments, "ganglion")
    finding = None
    try:
        given = config_values(arguments, ganglion.FIELDS)
        if path or not _MEMBERSHIP_KEYS.isdisjoint(given):
            load_ganglion(path, given, arguments.node)
            finding = ok("configuration", path or "complete")
        in_file = read_values(path, arguments.node) if path else {}
        return finding, read_fields(ganglion.FIELDS, {**in_file, **given})
    except ConfigError as error:
        return refused("configuration", error), read_fields(ganglion.FIELDS, {})


def _ganglion_runs(socket_path: str) -> bool:
    from omni_core.io import admin

    try:
        admin.request(socket_path, "status", _STATUS_TIMEOUT)
    except OmniError:
        return False
    return True


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
