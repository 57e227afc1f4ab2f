"""Tables of metrics for the terminal, and a report of finished runs for the browser."""

from paredown.report.fitted import Fitted
from paredown.report.jobs import jobs_table
from paredown.report.tables import Row, busy_warning, markdown, path_table, show

__all__ = ["Fitted", "Row", "busy_warning", "jobs_table", "markdown", "path_table", "show"]
