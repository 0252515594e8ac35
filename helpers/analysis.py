"""Measure codes and generated images: neighbours, densities over codes, distances between sets, a classifier's reading.

What scikit-learn does, it does; this file checks what goes in and turns tensors into what comes out.
"""

import numpy as np
import torch
from sklearn.mixture import GaussianMixture
from sklearn.neighbors import KNeighborsClassifier

from helpers.checks import check_codes, check_device, check_digits, check_images
from helpers.models import eval_mode


def knn_accuracy(codes, y, k=10, reference=None):
    """Return the share of codes, (n, d), whose digit in y, (n,), wins the vote of the k nearest codes.

    The vote is among the other codes (leave one out), or among `reference`, a pair (codes, y), where one is given.
    Raises ValueError for codes that are empty, not finite, or not more than k, and for k below 1.
    """
    codes, y = as_matrix("codes", codes), as_labels("y", y, len(codes))
    if reference is None:
        if not 1 <= k < len(codes):
            raise ValueError(f"codes must be more than k = {k}, and k at least 1, got {len(codes)} codes")
        return KNeighborsClassifier(k).fit(codes, y).score(None, y)  # None: every code asks the others
    pool = as_matrix("reference codes", reference[0], codes.shape[1])
    if not 1 <= k <= len(pool):
        raise ValueError(f"reference must hold k = {k} codes, and k be at least 1, got {len(pool)} codes")
    return KNeighborsClassifier(k).fit(pool, as_labels("reference y", reference[1], len(pool))).score(codes, y)


def fit_mixture(codes, components=1, seed=0):
    """Fit a mixture of Gaussians to codes, (n, d), and return scikit-learn's `GaussianMixture`; one is a Gaussian.

    Every component has a covariance of its own, so each can lie along the digits it describes.
    """
    codes = as_matrix("codes", codes)
    if not 1 <= components < len(codes):
        raise ValueError(f"codes must be more than components = {components} >= 1, got {len(codes)} codes")
    return GaussianMixture(components, tol=1e-2, max_iter=50, random_state=seed).fit(codes)


def sample_mixture(mixture, n, seed=0):
    """Draw n codes, (n, d) float32, from a fitted mixture; one seed gives the same codes every time."""
    if n < 1:
        raise ValueError(f"n must be at least 1, got {n}")
    mixture.random_state = seed
    codes, _ = mixture.sample(n)
    order = torch.randperm(n, generator=torch.Generator().manual_seed(seed))  # scikit-learn sorts them by component
    return torch.from_numpy(codes).float()[order]


def frechet_distance(a, b):
    """Return the squared Frechet distance of the Gaussians fitted to two sets of features, (n, d) and (m, d).

    |mean_a - mean_b|^2 + tr(C_a + C_b - 2 (C_a C_b)^(1/2)), zero for sets of equal mean and covariance, in squared
    units of the features (Heusel et al. 2017, section 2). It is biased upwards where n or m is not far above d:
    compare only sets of equal size, and show a floor.
    """
    a, b = as_matrix("a", a), as_matrix("b", b)
    if a.shape[1] != b.shape[1] or min(len(a), len(b)) < 2:
        raise ValueError(f"a and b must be (n, d) and (m, d) with n, m >= 2, got {a.shape} and {b.shape}")
    cov_a, cov_b = np.atleast_2d(np.cov(a, rowvar=False)), np.atleast_2d(np.cov(b, rowvar=False))
    # C_a C_b has the eigenvalues of the symmetric C_a^(1/2) C_b C_a^(1/2), which stay real and >= 0 under rounding.
    values, vectors = np.linalg.eigh(cov_a)
    root_a = (vectors * np.sqrt(values.clip(0))) @ vectors.T
    cross = np.sqrt(np.linalg.eigvalsh(root_a @ cov_b @ root_a).clip(0)).sum()
    return float(np.square(a.mean(0) - b.mean(0)).sum() + np.trace(cov_a) + np.trace(cov_b) - 2 * cross)


@torch.inference_mode()
def read_by(classifier, images, batch_size=1000):
    """Return the digit that a classifier reads in each image, (n,) int64, and its confidence in [0, 1], (n,).

    images: (n, 1, 28, 28) in [0, 1], or for a classifier's last layer the features of images, (n, d).
    """
    check_device(classifier, images=images)
    (check_codes if images.dim() == 2 else check_images)("images", images)
    with eval_mode(classifier):
        logits = torch.cat([classifier(batch) for batch in images.split(batch_size)])
    confidence, digits = logits.softmax(1).max(1)
    return digits, confidence


def effective_classes(digits, classes=10):
    """Return how many equally frequent classes would be as varied as `digits`, (n,): from 1 to `classes`.

    It is the exponential of the entropy of their shares.
    """
    check_digits("digits", digits, classes)
    shares = torch.bincount(digits.cpu(), minlength=classes) / len(digits)
    return float(torch.special.entr(shares).sum().exp())


def as_matrix(name, values, d=None):
    """Return features, (n, d), as a float64 array, or say which argument cannot be that."""
    array = torch.as_tensor(values).detach().cpu().numpy().astype(np.float64)
    if array.ndim != 2 or not len(array) or array.shape[1] != (d or array.shape[1]):
        raise ValueError(f"{name} must have shape (n, {d or 'd'}) with n >= 1, got {array.shape}")
    if not np.isfinite(array).all():
        raise ValueError(f"{name} must be finite: it holds NaN or infinity")
    return array


def as_labels(name, values, n):
    """Return n labels, (n,), as an array, or say which argument cannot be that."""
    array = torch.as_tensor(values).cpu().numpy()
    if array.shape != (n,):
        raise ValueError(f"{name} must have shape ({n},), one label a code, got {array.shape}")
    if not np.isfinite(array).all():
        raise ValueError(f"{name} must be finite: it holds NaN or infinity")
    return array
