"""Where the numerals of the digits stand on a plane of codes."""

import torch

from helpers.checks import check_codes


def place_labels(codes, y, room):
    """Return each digit in y, (n,), and a place for its label, at the median of its codes, (n, 2).

    Labels closer than `room`, in units of the codes, are pushed apart. Returns a list of digits and places (digits, 2).
    Raises ValueError for codes that are empty, not finite, or not one a digit.
    """
    check_codes("codes", codes, 2)
    if y.shape != codes.shape[:1]:
        raise ValueError(f"y must have shape ({len(codes)},), one digit a code, got {tuple(y.shape)}")
    digits = y.unique().tolist()
    places = torch.stack([codes[y == digit].median(0).values for digit in digits])  # (digits, 2)
    for _ in range(50):
        away = places[:, None] - places  # (digits, digits, 2)
        distance = away.norm(dim=2, keepdim=True).clamp(min=1e-6)
        places = places + 0.5 * (away / distance * (room - distance).clamp(min=0)).sum(1)
    return digits, places
