"""The plot of bytes per heartbeat cycle over the number of edges: ours and a full-list push."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from bench.plot import COLOURS, DOT_COLOUR

WHITEPAPER = (1000, 100_000)  # edges, bytes per 30 s


def draw(rows: Sequence[Mapping[str, float]], directory: Path) -> Path:
    """Raises ImportError without matplotlib."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    edges = [row["edges"] for row in rows]
    image, axes = pyplot.subplots(figsize=(8, 5), layout="constrained")
    lines = (
        ("full_list", "the full list to everyone", COLOURS["peer"], "s-"),
        ("churn", "ours, 1 % of the edges a minute come and go", COLOURS["ours"], "o--"),
        ("steady", "ours, nobody comes or goes", COLOURS["ours"], "o-"),
    )
    for key, label, colour, style in lines:
        values = [row[key] for row in rows]
        axes.plot(edges, values, style, color=colour, label=label)
        axes.annotate(f"{values[-1] / 1000:,.0f} KB", (edges[-1], values[-1]), (-6, 8), textcoords="offset points",
                      ha="right", fontsize=9)  # fmt: skip
    axes.plot(*WHITEPAPER, "D", color=DOT_COLOUR, label="whitepaper: about 100 KB at 1,000")
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.xaxis.set_major_formatter("{x:,g}")
    axes.yaxis.set_major_formatter("{x:,g}")
    axes.set_xlabel("edges (1,000 a cluster)", fontsize=9)
    axes.set_ylabel("bytes per 30 s, UDP payload, both ways, handshakes included", fontsize=9)
    axes.grid(color="#e2e8f0", which="both", zorder=1)
    axes.legend(fontsize=9)
    image.suptitle("Signaling traffic of one Nucleus", x=0.01, ha="left", fontsize=12, fontweight="bold")
    path = directory / "nucleus_bytes_per_cycle.png"
    image.savefig(path, dpi=110)
    pyplot.close(image)
    return path
