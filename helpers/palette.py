"""Moved to `helpers.plots`; the explorer still asks here."""

from helpers.plots import PALETTE  # noqa: F401
