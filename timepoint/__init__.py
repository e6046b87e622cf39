"""Timepoint: follow brain tumours over time, from the PACS and back to it."""

__version__ = "0.1.0"
