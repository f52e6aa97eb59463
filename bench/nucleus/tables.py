"""The figures as tables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def as_text(results: Mapping[str, Any]) -> str:
    parts = [_machine(results["machine"])]
    for name, make in (
        ("saturation", _saturation), ("cost", _cost), ("cycle", _cycle), ("live", _live), ("failover", _failover)
    ):  # fmt: skip
        if name in results:
            parts.append(make(results[name]))
    return "\n\n".join(parts) + "\n"


def _machine(machine: Mapping[str, Any]) -> str:
    return (
        f"{machine['cpus']} CPUs, Linux {machine['kernel']}, python {machine['python']}; busy "
        f"{100 * machine['busy_share']:.0f} %, stolen {100 * machine['steal_share']:.1f} %, "
        f"load average {machine['load_average']:.1f}"
    )


def _saturation(found: Mapping[str, Any]) -> str:
    lines = ["one process            a second (lowest to highest)    share of a core   a second of its CPU time"]
    for name in ("echo", "heartbeats", "queries"):
        row = found[name]
        span = f"{row['per_second']:8,.0f} ({row['lowest']:,.0f} to {row['highest']:,.0f})"
        lines.append(f"{name:<20} {span:<36} {100 * row['cpu_share']:6.0f} %   {row['per_cpu_second']:10,.0f}")
    row = found["registrations"]
    lines.append(
        f"{'registrations':<20} {row['per_second']:8,.0f}{'':<28} {100 * row['cpu_share']:6.0f} %   "
        f"{row['per_cpu_second']:10,.0f}"
    )
    return "\n".join(lines)


def _cost(rows: list[Mapping[str, Any]]) -> str:
    kinds = [kind for kind in ("handshake", "register", "heartbeat", "query") if kind in rows[0]["us"]]
    lines = ["edges    " + "".join(f"{kind + ' us':>14}" for kind in kinds) + "   bytes/edge"]
    for row in rows:
        costs = "".join(f"{row['us'][kind]:14.1f}" for kind in kinds)
        lines.append(f"{row['edges']:<9,}{costs} {row['bytes_per_edge']:12,.0f}")
    return "\n".join(lines)


def _cycle(rows: list[Mapping[str, Any]]) -> str:
    lines = [
        "KB per 30 s       steady  of it handshakes   with churn    full list   (with IP and UDP headers: s, c, f)"
    ]
    for row in rows:
        values = [row[key] / 1000 for key in ("steady", "steady_handshakes", "churn", "full_list")]
        wire = [row[key] / 1000 for key in ("steady_on_wire", "churn_on_wire", "full_list_on_wire")]
        lines.append(
            f"{row['edges']:<12,} {values[0]:11,.1f} {values[1]:17,.1f} {values[2]:12,.1f} {values[3]:12,.1f}   "
            + "  ".join(f"{value:,.1f}" for value in wire)
        )
    return "\n".join(lines)


def _live(found: Mapping[str, Any]) -> str:
    report = found["report"]
    latency = {name: 1000 * value for name, value in report["latency_s"].items()}
    return (
        f"{found['edges']:,} edges, live: registered within {found['registered_within_s']:.0f} s "
        f"({found['register_cpu_ms']:.2f} ms CPU each); then {100 * found['cpu_share']:.1f} % of a core, "
        f"{found['bytes_per_edge']:,.0f} bytes RSS an edge ({found['bytes_per_edge_later']:,.0f} later); the load took "
        f"{100 * found['load_cpu_share']:.0f} %\n"
        f"  {report['asked']} questions: {report['answered']} answered, {len(report['wrong'])} wrong, "
        f"p50 {latency.get('p50', 0):.1f} ms, p99 {latency.get('p99', 0):.1f} ms; "
        f"{report['lost']} edges lost their Nucleus"
    )


def _failover(found: Mapping[str, Any]) -> str:
    return (
        f"failover of {found['changed']} edges, s after kill -9: median {found['p50']:.1f}, 90 % {found['p90']:.1f}, "
        f"99 % {found['p99']:.1f}, last {found['max']:.1f}"
    )
