"""What was measured: tables for the terminal, and a report of finished runs for the browser."""

from paredown.report.tables import Row, jobs_table, markdown, path_table, show, told_busy

__all__ = ["Row", "jobs_table", "markdown", "path_table", "show", "told_busy"]
