"""One PNG per column: the median, a dot for each repetition, the figure and its ratio to raw beside it."""

from __future__ import annotations

from pathlib import Path

from bench.report import COLUMNS, Column, Summary

RAW_COLOUR, OTHER_COLOUR, DOT_COLOUR = "#9aa5b1", "#2563eb", "#0f172a"
LOG_FROM = 20.0  # largest by smallest median from which the axis is logarithmic


def draw(summary: Summary, directory: Path, caption: str) -> list[Path]:
    """Raises ImportError without matplotlib."""
    import matplotlib

    matplotlib.use("Agg")
    paths = []
    for column in COLUMNS:
        if any(column.key in figures for figures in summary.values()):
            paths.append(directory / f"{column.key}.png")
            _draw_column(summary, column, paths[-1], caption)
    return paths


def _draw_column(summary: Summary, column: Column, path: Path, caption: str) -> None:
    from matplotlib import pyplot

    figures = {subject: row[column.key] for subject, row in summary.items() if column.key in row}
    names = list(figures)
    medians = [figure.median for figure in figures.values()]
    lowest, highest = min(f.minimum for f in figures.values()), max(f.maximum for f in figures.values())
    colours = [RAW_COLOUR if name == "raw" else OTHER_COLOUR for name in names]
    image, axes = pyplot.subplots(figsize=(8, 1.6 + 0.6 * len(names)), layout="constrained")
    logarithmic = min(medians) > 0 and max(medians) / min(medians) >= LOG_FROM
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
        axes.set_xlim(0, highest * 1.4)
    for row, figure in enumerate(figures.values()):
        axes.scatter(figure.values, [row] * len(figure.values), s=16, color=DOT_COLOUR, alpha=0.6, lw=0, zorder=3)
        text = f"{figure.median:,.{column.digits}f} {column.unit}{_ratio_text(figure.ratio)}"
        axes.annotate(
            text, (figure.maximum, row), (10, 0), textcoords="offset points", va="center", fontsize=10, zorder=4
        )
    better = "more is better" if column.more_is_better else "less is better"
    axes.set_title(f"{column.title} ({better})", loc="left", fontsize=12, fontweight="bold")
    axes.set_xlabel(f"{column.unit}{', logarithmic' if logarithmic else ''}    {caption}", fontsize=8, color="#475569")
    axes.invert_yaxis()
    axes.grid(axis="x", color="#e2e8f0", zorder=1)
    axes.tick_params(left=False)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    image.savefig(path, dpi=150)
    pyplot.close(image)


def _ratio_text(ratio: float | None) -> str:
    if ratio is None:
        return ""
    return f"  ({ratio:.3g} × raw)" if ratio >= 0.1 else f"  (1/{1 / ratio:.0f} of raw)"
