"""Parts of ``make demo`` (tools/demo.py)."""
