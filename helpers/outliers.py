"""Find what is unusual: rank by a score, and measure what a score finds."""

import numpy as np
import torch
from sklearn.metrics import average_precision_score, roc_auc_score

from helpers.analysis import as_labels, as_matrix


def rank_outliers(scores, y, count):
    """Return the indices of the `count` highest scores, (n,), of each digit in y, (n,): {digit: (count,)}, worst first.

    Raises ValueError where a digit has fewer images or a score is not finite.
    """
    scores = torch.as_tensor(as_matrix("scores", torch.as_tensor(scores)[..., None]))[:, 0]
    y = torch.as_tensor(as_labels("y", y, len(scores)))
    if count < 1:
        raise ValueError(f"count must be at least 1, got {count}")
    ranked = {}
    for digit in y.unique().tolist():
        members = (y == digit).nonzero()[:, 0]
        if len(members) < count:
            raise ValueError(f"y must hold count = {count} images of each digit, got {len(members)} of {digit}")
        ranked[digit] = members[scores[members].topk(count).indices]
    return ranked


def detection(scores, wanted, count):
    """Measure how a score, (n,), high for suspects, finds the images that `wanted`, (n,) booleans, marks.

    Returns a dict: `hits`, wanted images among the `count` highest scores, on average over the order of equal scores;
    `expected`, what chance would give; `precision`, the average precision, for chance the share of wanted images;
    `auc`, the probability that a wanted image has the higher score than another, 0.5 for chance. Raises ValueError
    when none or all are wanted, or a score is not finite.
    """
    scores = as_matrix("scores", torch.as_tensor(scores)[..., None])[:, 0]
    wanted = as_labels("wanted", wanted, len(scores)).astype(bool)
    if wanted.all() or not wanted.any():
        raise ValueError(f"wanted must mark some of the {len(wanted)} images, got {wanted.sum()}")
    if not 1 <= count <= len(scores):
        raise ValueError(f"count must be between 1 and {len(scores)}, got {count}")
    last = np.sort(scores)[-count]  # the lowest score that is still among them, which others may share
    above, level = scores > last, scores == last
    return {
        "hits": float(wanted[above].sum() + wanted[level].mean() * (count - above.sum())),
        "expected": float(count * wanted.mean()),
        "precision": float(average_precision_score(wanted, scores)),
        "auc": float(roc_auc_score(wanted, scores)),
    }
