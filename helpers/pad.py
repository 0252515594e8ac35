"""Strokes on a pad become an image like those of MNIST."""

import torch
from torch.nn import functional as F

BOX, SIDE = 20, 28


def prepare(strokes, faintest=0.05):
    """Crop strokes, (h, w) in [0, 1], fit them in a 20 x 20 box, and centre their mass on 28 x 28 pixels.

    This is how the digits of MNIST were prepared (LeCun et al. 1998, section III.A); a classifier trained on them
    expects it. Returns (28, 28) in [0, 1], or None when no stroke is darker than `faintest`.
    Raises ValueError for another shape, and for values that are not in [0, 1].
    """
    if strokes.dim() != 2 or not strokes.numel():
        raise ValueError(f"strokes must have shape (h, w), got {tuple(strokes.shape)}")
    low, high = (value.item() for value in strokes.aminmax())
    if not (low >= 0 and high <= 1):  # NaN is refused as well
        raise ValueError(f"strokes must be in [0, 1], got values from {low:.3g} to {high:.3g}")
    rows = (strokes > faintest).any(1).nonzero().flatten()
    columns = (strokes > faintest).any(0).nonzero().flatten()
    if not len(rows):
        return None
    digit = strokes[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    scale = BOX / max(digit.shape)
    size = [max(1, round(side * scale)) for side in digit.shape]
    # antialias, or thin strokes lose pixels on the way down
    digit = F.interpolate(digit[None, None], size, mode="bilinear", antialias=True)[0, 0].clamp(0, 1)
    # The mass shall lie at 14, counting pixels from 0: real digits come back from this exactly as they are.
    corner = [centred(digit.sum(1 - axis), digit.shape[axis]) for axis in (0, 1)]
    image = strokes.new_zeros(SIDE, SIDE)
    image[corner[0] : corner[0] + size[0], corner[1] : corner[1] + size[1]] = digit
    return image


def centred(mass, size):
    """Return where a line of pixels with this mass must start for its centre of mass to lie in the middle."""
    middle = float((mass * torch.arange(size, device=mass.device)).sum() / mass.sum())
    return min(max(round(SIDE / 2 - middle), 0), SIDE - size)  # a long tail must still fit
