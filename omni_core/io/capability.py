"""The one refusal that most set-ups meet first."""

from __future__ import annotations

from omni_core.errors import SystemRefused


def no_capability(problem: str) -> SystemRefused:
    return SystemRefused(
        "CAP_NET_ADMIN",
        problem,
        "run as root, or grant it (systemd: AmbientCapabilities=CAP_NET_ADMIN; docker: --cap-add NET_ADMIN)",
    )
