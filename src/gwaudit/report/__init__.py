"""The report on a run: one file to look at, to decide in and to send; served while a person decides; its figures."""

from gwaudit.report.contents import TOP, ReportContents, gather
from gwaudit.report.exporting import write_figures
from gwaudit.report.figures import FIGURES, draw_figures
from gwaudit.report.page import render_page, write_report
from gwaudit.report.server import DecisionLog, ReviewServer

__all__ = [
    "FIGURES",
    "TOP",
    "DecisionLog",
    "ReportContents",
    "ReviewServer",
    "draw_figures",
    "gather",
    "render_page",
    "write_figures",
    "write_report",
]
