"""The way of draws from noise to digits, as one HTML file: a film whose time the reader holds."""

import copy
from pathlib import Path

import numpy as np
import torch
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from torch import Tensor, nn

from helpers.checks import check_classes, check_codes
from helpers.explorer.static import document
from helpers.explorer.weights import EXAMPLES, pack
from helpers.plots import PALETTE


def save_film(path: str | Path, way: Tensor, y: Tensor, model: nn.Module) -> dict[str, int]:
    """Write the way of codes as one HTML file with a slider for the time, which decodes ten of them as they move.

    way: (steps + 1, n, latent_dim), the codes at equal steps of time, as helpers.flow.transport returns them; what
    lies between two steps is on the line between. y: (n,), the digits asked for, at least three kinds. `model` decodes.
    Returns how many bytes each part of the file takes. Raises ValueError, naming the argument, for what does not fit,
    and for a decoder that a page cannot run.
    """
    if way.dim() != 3 or len(way) < 2 or y.shape != way.shape[1:2]:
        raise ValueError(
            f"way must be (steps + 1, n, latent_dim) and y (n,), got {tuple(way.shape)} and {tuple(y.shape)}"
        )
    way, y = way.cpu(), y.cpu()
    codes = way.flatten(0, 1)
    check_codes("way", codes)
    check_classes("y", y)
    if len(y.unique()) < 3:
        raise ValueError(f"y must hold three kinds of digits or more, for a plane to tell apart, got {y.unique()}")
    sides = best_sides(way[-1], y)  # (latent_dim, 2)
    low, high = ((codes @ sides).quantile(q, 0).tolist() for q in (0.002, 0.998))
    scale = codes.abs().max().item() / 32_767  # in whole numbers of 16 bits, half the size
    text, parts = document(
        {
            "parts": ["film"],
            "times": len(way),
            "scale": scale,
            "sides": sides.T.tolist(),
            "bounds": [low[0], high[0], low[1], high[1]],
            "palette": PALETTE,
        },
        raw={"way": (codes / scale).round().numpy().astype("<i2").tobytes(), "digits": y.byte().numpy().tobytes()},
        packed={"decoder": pack(copy.deepcopy(model).cpu().eval(), "decode", codes[:: len(codes) // EXAMPLES + 1])},
        title="From noise to digits",
        lead="""Every point is a draw. It begins as noise and follows the flow to the code of the digit that was asked
for, which its colour tells. Move the slider or play; point at a draw to watch its digit come to be.""",
        width=780,
        about="The points are seen from the side on which the digits differ most; the digits are decoded in this page.",
    )
    Path(path).write_text(text, "utf-8")
    return parts


def best_sides(codes: Tensor, y: Tensor) -> Tensor:
    """Return the two directions along which codes, (n, d), of digits y differ most, (d, 2) (Fisher 1936)."""
    sides = LinearDiscriminantAnalysis(n_components=2).fit(codes.numpy(), y.numpy()).scalings_[:, :2]
    return torch.from_numpy(np.ascontiguousarray(sides)).float()
