"""What was measured: tables for the terminal, and a report of finished runs for the browser."""

from paredown.report.fitted import Fitted
from paredown.report.jobs import jobs_table
from paredown.report.tables import Row, markdown, path_table, show, told_busy

__all__ = ["Fitted", "Row", "jobs_table", "markdown", "path_table", "show", "told_busy"]
