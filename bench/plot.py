"""One PNG per column: the median, a dot for each repetition, the figure and how it compares with raw beside it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from bench.columns import COLUMNS, Column
from bench.report import Figure, Summary, relation_text

COLOURS = {"reference": "#9aa5b1", "ours": "#2563eb", "peer": "#d9a441"}
DOT_COLOUR = "#0f172a"
LOG_FROM = 20.0  # largest by smallest median from which the axis is logarithmic


def draw(summary: Summary, kinds: Mapping[str, str], directory: Path, caption: str) -> list[Path]:
    """``kinds``: subject -> reference, ours or peer. Raises ImportError without matplotlib."""
    import matplotlib

    matplotlib.use("Agg")
    paths = []
    for column in COLUMNS:
        if any(column.key in figures for figures in summary.values()):
            paths.append(directory / f"{column.key}.png")
            _draw_column(summary, kinds, column, paths[-1], caption)
    return paths


def _draw_column(summary: Summary, kinds: Mapping[str, str], column: Column, path: Path, caption: str) -> None:
    from matplotlib import pyplot

    figures = {subject: row[column.key] for subject, row in summary.items() if column.key in row}
    names = list(figures)
    medians = [figure.median for figure in figures.values()]
    lowest, highest = min(f.minimum for f in figures.values()), max(f.maximum for f in figures.values())
    colours = [COLOURS[kinds[name]] for name in names]
    image, axes = pyplot.subplots(figsize=(8, 1.6 + 0.6 * len(names)), layout="constrained")
    logarithmic = column.unit != "%" and lowest > 0 and max(medians) / min(medians) >= LOG_FROM
    if logarithmic:  # no bars: their length would mean nothing
        axes.set_xscale("log")
        axes.set_xlim(lowest / 2, highest * (highest / lowest) ** 0.5)
        axes.hlines(range(len(names)), lowest / 2, medians, color="#cbd5e1", linestyle="dotted", zorder=2)
        axes.scatter(medians, range(len(names)), s=130, marker="D", color=colours, zorder=2)
        axes.set_yticks(range(len(names)), names)
        axes.set_ylim(-0.6, len(names) - 0.4)
        axes.xaxis.set_major_formatter("{x:,g}")
    else:
        axes.barh(names, medians, height=0.55, color=colours, zorder=2)
        axes.set_xlim(0, highest * 1.6 or 1)
    for row, figure in enumerate(figures.values()):
        axes.scatter(figure.values, [row] * len(figure.values), s=16, color=DOT_COLOUR, alpha=0.6, lw=0, zorder=3)
        text = f"{figure.median:,.{column.digits}f} {column.unit}{_beside(figure, column)}"
        axes.annotate(
            text, (figure.maximum, row), (10, 0), textcoords="offset points", va="center", fontsize=10, zorder=4
        )
    better = "more is better" if column.more_is_better else "less is better"
    image.suptitle(f"{column.title} ({better})", x=0.01, ha="left", fontsize=12, fontweight="bold")
    axes.set_xlabel(f"{column.unit}{', logarithmic' if logarithmic else ''}    {caption}", fontsize=8, color="#475569")
    axes.invert_yaxis()
    axes.grid(axis="x", color="#e2e8f0", zorder=1)
    axes.tick_params(left=False)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    image.savefig(path, dpi=150)
    pyplot.close(image)


def _beside(figure: Figure, column: Column) -> str:
    parts = [relation_text(figure, column).replace("x", "× ")]
    if parts[0]:
        parts[0] += " raw" if column.relation == "ratio" else " to raw"
    if figure.share_of_framing is not None:
        parts.append(f"{figure.share_of_framing:.1%} of framing")
    text = ", ".join(part for part in parts if part)
    return f"  ({text})" if text else ""
