"""Hover over the latent plane and see the digit under the pointer, decoded live."""

from helpers.explorer.widget import LatentExplorer, Pad, Plane, Readout

__all__ = ["LatentExplorer", "Pad", "Plane", "Readout"]
