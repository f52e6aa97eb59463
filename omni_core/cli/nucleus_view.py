"""A Nucleus on one page, for `omni status --nucleus`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Group
from rich.text import Text

from omni_core.cli import output


def nucleus_page(status: Mapping[str, Any]) -> Group:
    """``status``: the answer of a Nucleus's admin socket."""
    store = status["store"]
    away = "" if store["available"] else f", away for {store['for_s']:.0f} s, going on from memory ({store['text']})"
    state = "draining" if status["draining"] else status["lifecycle"]
    rows = [
        (
            "nucleus",
            f"{state}, UDP port {status['port']}, {status['sessions']} sessions, {status['users']} edges use it",
        ),
        ("store", f"{store['location'] or store['kind']}{away}"),
        ("http", status["http"]),
        ("key", status["public_key"]),
        ("drops", ", ".join(f"{reason} {count}" for reason, count in status["drops"].items())),
    ]
    counters = ["edges", "joins", "leaves", "departures", "refusals"]
    clusters = [
        [
            cluster["name"],
            cluster["admits_by"],
            *(str(cluster[counter]) for counter in counters),
            f"{cluster['leases']} of {cluster['pool']}" if cluster["pool"] else "-",
        ]
        for cluster in status["clusters"]
    ]
    return Group(
        *(Text.assemble((f"{name:<9}", "bold"), text) for name, text in rows if text),
        output.make_table(["cluster", "admits by", *counters, "leases"], clusters, right=[*counters, "leases"]),
    )
