"""What a comparison leaves behind: results.json, and a page that is drawn from it."""

from videosieve.report.comparison.page import PAGE, render_page, write_report
from videosieve.report.results import Atlas, ClipResult, Results

__all__ = ["PAGE", "Atlas", "ClipResult", "Results", "render_page", "write_report"]
