"""What the view is given once: the points to draw, and the whole plane looked at, tile by tile."""

from typing import Any

import torch

from helpers.explorer.space import LatentSpace
from helpers.explorer.weights import carry
from helpers.plots import place_labels

TILES, FEW = 32, 16  # decoded images along each side, and where each place shows every class


def chart(space: LatentSpace) -> tuple[dict[str, Any], dict[str, str]]:
    """Return what the view needs of a `LatentSpace` as the explorer's traits, and what of them is missing, and why.

    Where the page decodes by itself, it gets no pictures of the tiles.
    """
    places = space.places.cpu()
    order = space.drawn
    low, high = (torch.quantile(places[order], q, dim=0) for q in (0.002, 0.998))
    middle, half = (low + high) / 2, 0.55 * float((high - low).max())
    bounds = [float(m + side * half) for m in middle for side in (-1, 1)]
    digits, labels = place_labels(places, space.y, room=0.11 * half)
    tiles = TILES if space.shown == 1 else FEW
    middles = _tile_middles(bounds, tiles)
    codes = space.projection.inverse_transform(middles)
    seen = space.predict(codes, middles)
    traits, missing = carry(space, codes)
    if not traits["decoder"]:
        traits |= {"atlas": seen.pixels.numpy().tobytes(), "neighbours": seen.neighbours.numpy().tobytes()}
    return traits | {
        "points": places[order].numpy().astype("<f4").tobytes(),
        "digits": space.y[order].byte().numpy().tobytes(),
        # Styles of all digits lie in the same places: there is nothing to label.
        "centres": [[digit, label] for digit, label in zip(digits, labels.tolist()) if space.shown == 1],
        "tiles": tiles,
        "shown": space.shown,
        "layers": ["points" if space.shown == 1 else "tiles"],
        "bounds": bounds,
        "facts": seen.facts.numpy().astype("<f4").tobytes(),
    }, missing


def _tile_middles(bounds, tiles):
    """Return the middles of the atlas's tiles, (tiles * tiles, 2), row by row from the top left."""
    left, right, bottom, top = bounds
    steps = (torch.arange(tiles) + 0.5) / tiles
    rows, columns = torch.meshgrid(top - steps * (top - bottom), left + steps * (right - left), indexing="ij")
    return torch.stack([columns.flatten(), rows.flatten()], 1)
