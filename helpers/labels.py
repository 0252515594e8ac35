"""Moved to `helpers.plots`; the explorer still asks here."""

from helpers.plots import place_labels  # noqa: F401
