"""Log records as JSON, an object a line, for who collects logs (``log_format: json``)."""

from __future__ import annotations

import logging
from datetime import datetime, timezone
from typing import Any

from omni_core.errors import SystemRefused


def json_formatter() -> logging.Formatter:
    """Fields: time (RFC 3339, UTC), level, event, message, and those of the event; ``log`` where it is only a line.

    Raises SystemRefused where python-json-logger is missing.
    """
    try:
        from pythonjsonlogger import json as module
    except ImportError:
        try:
            from pythonjsonlogger import jsonlogger as module  # type: ignore[no-redef]  # before 3.0
        except ImportError:
            raise SystemRefused(
                "log_format",
                "the Python package python-json-logger is missing",
                "pip install python-json-logger, or set log_format to text",
            ) from None

    class JsonLines(module.JsonFormatter):
        def add_fields(
            self, log_record: dict[str, Any], record: logging.LogRecord, message_dict: dict[str, Any]
        ) -> None:
            created = datetime.fromtimestamp(record.created, timezone.utc)
            fields = {"event": "log", "message": record.message, **getattr(record, "omni", {})}
            log_record["time"] = created.isoformat(timespec="milliseconds").replace("+00:00", "Z")
            log_record["level"] = record.levelname.lower()
            log_record.update(fields)
            if message_dict.get("exc_info"):
                log_record["traceback"] = message_dict["exc_info"]

    formatter: logging.Formatter = JsonLines()
    return formatter
