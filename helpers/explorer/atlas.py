"""What the view is given once: the points to draw, and the whole plane decoded, tile by tile."""

from typing import Any

import torch

from helpers.explorer.space import LatentSpace
from helpers.plots import place_labels

SHOWN = 5_000  # points drawn; more only hide each other
TILES = 32  # decoded images along each side


def chart(space: LatentSpace) -> dict[str, Any]:
    """Return the points, labels, bounds and atlas of a `LatentSpace` as the explorer's traits of these names."""
    places = space.places.cpu()
    order = torch.randperm(len(places), generator=torch.Generator().manual_seed(0))[:SHOWN]
    low, high = (torch.quantile(places[order], q, dim=0) for q in (0.002, 0.998))
    middle, half = (low + high) / 2, 0.55 * float((high - low).max())
    bounds = [float(m + side * half) for m in middle for side in (-1, 1)]
    digits, labels = place_labels(places, space.y, room=0.11 * half)
    middles = _tile_middles(bounds)
    seen = space.predict(space.projection.inverse_transform(middles), middles)
    return {
        "points": places[order].numpy().astype("<f4").tobytes(),
        "digits": space.y[order].byte().numpy().tobytes(),
        "centres": [[digit, label] for digit, label in zip(digits, labels.tolist())],
        "bounds": bounds,
        "atlas": seen.pixels.numpy().tobytes(),
        "facts": seen.facts.numpy().astype("<f4").tobytes(),
        "neighbours": seen.neighbours.numpy().tobytes(),
    }


def _tile_middles(bounds):
    """Return the middles of the atlas's tiles, (TILES * TILES, 2), row by row from the top left."""
    left, right, bottom, top = bounds
    steps = (torch.arange(TILES) + 0.5) / TILES
    rows, columns = torch.meshgrid(top - steps * (top - bottom), left + steps * (right - left), indexing="ij")
    return torch.stack([columns.flatten(), rows.flatten()], 1)
