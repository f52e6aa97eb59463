"""What only the ROS nodes have: parameters beside the configuration's keys. `omni` passes over them in a YAML file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from omni_core.config.schema import Field, read_fields
from omni_core.errors import ConfigError

_MAX_PERIOD = 3600.0  # s


def _common(shown_id: str) -> tuple[Field, ...]:
    return (
        Field(
            "autostart", "boolean", False,
            "Configure and activate as soon as the process runs, without a lifecycle manager.",
            "use true or false",
            read_only=True,
        ),
        Field(
            "diagnostics_period", "double", 1.0,
            "Time between two messages on /diagnostics.",
            "use 1.0",
            unit="s", minimum=0.1, maximum=_MAX_PERIOD, live=True,
        ),
        Field(
            "hardware_id", "string", "",
            f"Hardware id in /diagnostics, such as the robot's serial number. Empty: {shown_id}.",
            "use any text, or leave it empty",
            live=True,
        ),
        Field(
            "diagnostics_drop_rate_warn", "double", 10.0,
            "Packets and frames dropped in one second, mean of diagnostics_window, above which diagnostics warn.",
            "use 10.0",
            unit="1/s", minimum=0.0, maximum=1e9, live=True,
        ),
        Field(
            "diagnostics_drop_rate_error", "double", 1000.0,
            "The same, above which diagnostics report an error.",
            "use 1000.0",
            unit="1/s", minimum=0.0, maximum=1e9, live=True,
        ),
        Field(
            "diagnostics_window", "double", 10.0,
            "Time that rates in diagnostics are the mean of.",
            "use 10.0",
            unit="s", minimum=1.0, maximum=_MAX_PERIOD, live=True,
        ),
    )  # fmt: skip


GANGLION_FIELDS: tuple[Field, ...] = (
    *_common("the public key"),
    Field(
        "diagnostics_rtt_warn", "double", 0.3,
        "Round trip to a peer, through the tunnel, above which diagnostics warn.",
        "use 0.3",
        unit="s", minimum=0.0, maximum=60.0, live=True,
    ),
    Field(
        "diagnostics_rtt_error", "double", 1.0,
        "The same, above which diagnostics report an error.",
        "use 1.0",
        unit="s", minimum=0.0, maximum=60.0, live=True,
    ),
    Field(
        "diagnostics_loss_warn", "double", 0.05,
        "Share of a peer's packets that do not arrive above which diagnostics warn.",
        "use 0.05",
        minimum=0.0, maximum=1.0, live=True,
    ),
    Field(
        "diagnostics_loss_error", "double", 0.25,
        "The same, above which diagnostics report an error.",
        "use 0.25",
        minimum=0.0, maximum=1.0, live=True,
    ),
    Field(
        "diagnostics_clock_offset_warn", "double", 0.02,
        "Difference between a peer's clock and this machine's above which diagnostics warn: TF breaks by it.",
        "use 0.02",
        unit="s", minimum=0.0, maximum=1e9, live=True,
    ),
    Field(
        "diagnostics_clock_offset_error", "double", 0.2,
        "The same, above which diagnostics report an error.",
        "use 0.2",
        unit="s", minimum=0.0, maximum=1e9, live=True,
    ),
    Field(
        "diagnostics_nucleus_timeout", "double", 30.0,
        "Time without the Nucleus after which diagnostics report an error; before it they warn.",
        "use 30.0",
        unit="s", minimum=0.0, maximum=_MAX_PERIOD, live=True,
    ),
)  # fmt: skip

NUCLEUS_FIELDS: tuple[Field, ...] = (
    *_common("the public key"),
    Field(
        "diagnostics_refusal_rate_warn", "double", 1.0,
        "Registrations of a cluster refused in one second, mean of diagnostics_window, above which diagnostics warn.",
        "use 1.0",
        unit="1/s", minimum=0.0, maximum=1e9, live=True,
    ),
    Field(
        "diagnostics_pool_warn", "double", 0.9,
        "Share of a cluster's pool of VIP4s that is leased above which diagnostics warn.",
        "use 0.9",
        minimum=0.0, maximum=1.0, live=True,
    ),
)  # fmt: skip

KEYS = frozenset(field.name for field in (*GANGLION_FIELDS, *NUCLEUS_FIELDS))


@dataclass(frozen=True)
class Limits:
    """From which values on diagnostics warn, or report an error. Units as in the table."""

    drop_rate_warn: float
    drop_rate_error: float
    window: float
    rtt_warn: float = 0.0
    rtt_error: float = 0.0
    loss_warn: float = 0.0
    loss_error: float = 0.0
    clock_offset_warn: float = 0.0
    clock_offset_error: float = 0.0
    nucleus_timeout: float = 0.0
    refusal_rate_warn: float = 0.0
    pool_warn: float = 0.0


def read_limits(fields: Sequence[Field], values: Mapping[str, object]) -> Limits:
    """Of GANGLION_FIELDS or NUCLEUS_FIELDS; keys that are left out have their default. Raises ConfigError."""
    read = read_fields(fields, values)
    prefix = "diagnostics_"
    limits = {
        name.removeprefix(prefix): value
        for name, value in read.items()
        if name.startswith(prefix) and name != "diagnostics_period"
    }
    for name, warn in limits.items():
        error = limits.get(name.removesuffix("_warn") + "_error")
        if name.endswith("_warn") and error is not None and warn > error:
            raise ConfigError(
                prefix + name,
                f"{warn:g} is above {prefix}{name.removesuffix('_warn')}_error, which is {error:g}",
                "set both in one request, the warning not above the error",
            )
    return Limits(**limits)
