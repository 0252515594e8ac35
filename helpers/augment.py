"""Random changes to a training batch, made on its device."""

import torch
import torch.nn.functional as F


def random_shift(x, pixels=2):
    """Move a whole batch by the same random offset of up to `pixels` each way; what enters is background.

    x: (n, 1, h, w) -> the same shape. One offset a batch does as well as one an image, and costs a slice.
    """
    if x.dim() != 4 or pixels < 0:
        raise ValueError(f"x must have shape (n, 1, h, w) and pixels be >= 0, got {tuple(x.shape)} and {pixels}")
    height, width = x.shape[-2:]
    top, left = torch.randint(0, 2 * pixels + 1, (2,)).tolist()
    return F.pad(x, (pixels,) * 4)[..., top : top + height, left : left + width]
