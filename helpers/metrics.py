"""Every number that compares sets of codes or of images, and the samplers and maps that such numbers are asked about.

What scikit-learn does, it does. Inputs are checked here, by name: its own refusals do not say which argument is wrong.
"""

import math

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.metrics import adjusted_mutual_info_score, adjusted_rand_score
from sklearn.mixture import GaussianMixture
from sklearn.neighbors import KNeighborsClassifier
from torch import Tensor, nn

from helpers.checks import check_codes, check_device, check_digits, check_images
from helpers.models import CNN, VariationalAutoencoder, eval_mode, normalise

Array = Tensor | np.ndarray
NOISE = -1  # the label of a code that no cluster took, as in scikit-learn


@torch.inference_mode()
def predict(classifier: nn.Module, images: Tensor, batch_size: int = 1000) -> tuple[Tensor, Tensor]:
    """Return the digit that a classifier reads in each image, (n,) int64, and its confidence in [0, 1], (n,).

    images: (n, 1, 28, 28) in [0, 1], or for a classifier's last layer the features of images, (n, d).
    """
    check_device(classifier, images=images)
    (check_codes if images.dim() == 2 else check_images)("images", images)
    with eval_mode(classifier):
        logits = torch.cat([classifier(batch) for batch in images.split(batch_size)])
    confidence, digits = logits.softmax(1).max(1)
    return digits, confidence


@torch.inference_mode()
def features(classifier: CNN, x: Tensor, batch_size: int = 1000) -> Tensor:
    """Return the input of a CNN's last layer for each image, (n, 1, 28, 28) -> (n, hidden)."""
    check_device(classifier, x=x)
    check_images("x", x)
    layers = classifier.head[:-1]
    with eval_mode(classifier):
        return torch.cat([layers(classifier.features(normalise(batch))) for batch in x.split(batch_size)])


def effective_classes(digits: Tensor, classes: int = 10) -> float:
    """Return how many equally frequent classes would be as varied as `digits`, (n,): from 1 to `classes`.

    It is the exponential of the entropy of their shares.
    """
    check_digits("digits", digits, classes)
    shares = torch.bincount(digits.cpu(), minlength=classes) / len(digits)
    return float(torch.special.entr(shares).sum().exp())


def knn_accuracy(codes: Array, y: Array, k: int = 10, reference: tuple[Array, Array] | None = None) -> float:
    """Return the share of codes, (n, d), whose digit in y, (n,), wins the vote of the k nearest codes.

    The vote is among the other codes (leave one out), or among `reference`, a pair (codes, y), where one is given.
    Raises ValueError for codes that are empty, not finite, or not more than k, and for k below 1.
    """
    codes, y = _matrix("codes", codes), _labels("y", y, len(codes))
    if reference is None:
        if not 1 <= k < len(codes):
            raise ValueError(f"codes must be more than k = {k}, and k at least 1, got {len(codes)} codes")
        return KNeighborsClassifier(k).fit(codes, y).score(None, y)  # None: every code asks the others
    pool = _matrix("reference codes", reference[0], codes.shape[1])
    if not 1 <= k <= len(pool):
        raise ValueError(f"reference must hold k = {k} codes, and k be at least 1, got {len(pool)} codes")
    return KNeighborsClassifier(k).fit(pool, _labels("reference y", reference[1], len(pool))).score(codes, y)


def frechet_distance(a: Array, b: Array) -> float:
    """Return the squared Frechet distance of the Gaussians fitted to two sets of features, (n, d) and (m, d).

    |mean_a - mean_b|^2 + tr(C_a + C_b - 2 (C_a C_b)^(1/2)), zero for sets of equal mean and covariance, in squared
    units of the features (Heusel et al. 2017, section 2). It is biased upwards where n or m is not far above d:
    compare only sets of equal size, and show a floor.
    """
    a, b = _matrix("a", a), _matrix("b", b)
    if a.shape[1] != b.shape[1] or min(len(a), len(b)) < 2:
        raise ValueError(f"a and b must be (n, d) and (m, d) with n, m >= 2, got {a.shape} and {b.shape}")
    cov_a, cov_b = np.atleast_2d(np.cov(a, rowvar=False)), np.atleast_2d(np.cov(b, rowvar=False))
    # C_a C_b has the eigenvalues of the symmetric C_a^(1/2) C_b C_a^(1/2), which stay real and >= 0 under rounding.
    values, vectors = np.linalg.eigh(cov_a)
    root_a = (vectors * np.sqrt(values.clip(0))) @ vectors.T
    cross = np.sqrt(np.linalg.eigvalsh(root_a @ cov_b @ root_a).clip(0)).sum()
    return float(np.square(a.mean(0) - b.mean(0)).sum() + np.trace(cov_a) + np.trace(cov_b) - 2 * cross)


def fit_mixture(codes: Array, components: int = 1, seed: int = 0) -> GaussianMixture:
    """Fit a mixture of Gaussians, each with a covariance of its own, to codes, (n, d); one component is a Gaussian."""
    codes = _matrix("codes", codes)
    if not 1 <= components < len(codes):
        raise ValueError(f"codes must be more than components = {components} >= 1, got {len(codes)} codes")
    return GaussianMixture(components, tol=1e-2, max_iter=50, random_state=seed).fit(codes)


def sample_mixture(mixture: GaussianMixture, n: int, seed: int = 0) -> Tensor:
    """Draw n codes, (n, d) float32, from a fitted mixture; one seed gives the same codes every time."""
    if n < 1:
        raise ValueError(f"n must be at least 1, got {n}")
    mixture.random_state = seed
    codes, _ = mixture.sample(n)
    order = torch.randperm(n, generator=torch.Generator().manual_seed(seed))  # scikit-learn sorts them by component
    return torch.from_numpy(codes).float()[order]


def umap_plane(codes: Array, neighbours: int = 10, metric: str = "euclidean", seed: int = 0) -> Tensor:
    """Return places for codes, (n, d) -> (n, 2), on a UMAP plane made for clustering.

    No minimal distance, so that dense regions contract (McInnes et al. 2018, and the clustering page of umap-learn's
    manual). `metric` is a name that umap-learn knows, such as "cosine". One seed gives one plane on one machine;
    another machine may draw another.
    """
    codes = _matrix("codes", codes)
    if not 2 <= neighbours < len(codes):
        raise ValueError(f"codes must be more than neighbours = {neighbours} >= 2, got {len(codes)} codes")
    from umap import UMAP  # imported here because it takes seconds, and few callers draw a plane

    plane = UMAP(n_neighbors=neighbours, min_dist=0.0, metric=metric, random_state=seed, n_jobs=1).fit_transform(codes)
    return torch.from_numpy(plane)


def score_clusters(labels: Array, y: Array) -> dict[str, float]:
    """Compare clusters with digits, labels and y both (n,): `ari`, `ami`, `noise`, `clusters`.

    `ari` is the adjusted Rand index (Hubert & Arabie 1985) and `ami` the adjusted mutual information (Vinh et al.
    2010): 1 for the same partition, 0 on average for chance. Both count every code: all noise together is one more
    cluster, so leaving hard cases out is not free. `noise` is its share, `clusters` the number of the others; where
    all is noise, `ari` and `ami` are 0. Raises ValueError when y holds a single digit: there is nothing to find.
    """
    y = _labels("y", y, len(y))
    labels = _labels("labels", labels, len(y))
    if len(np.unique(y)) < 2:
        raise ValueError(f"y must hold two different digits at least, got {np.unique(y)}")
    noise = labels == NOISE
    return {
        "ari": float(adjusted_rand_score(y, labels)),
        "ami": float(adjusted_mutual_info_score(y, labels)),
        "noise": float(noise.mean()),
        "clusters": len(np.unique(labels[~noise])),
    }


@torch.inference_mode()
def log_likelihood(
    model: VariationalAutoencoder, x: Tensor, step: float = 0.025, reach: float = 6.0, batch_size: int = 4096
) -> Tensor:
    """Return log p(x) in nats, (n,), of images (n, 1, 28, 28) in [0, 1] under a VAE with a two-dimensional code.

    log p(x) = log of the integral of p(z) p(x|z) over the plane, here a sum over the points of a square grid
    that lie within `reach` of the origin: what Kingma & Welling (2014, eq. 3) bound from below, because no grid is fine
    enough for many dimensions. log p(x|z) is minus the binary cross-entropy of `helpers.losses`, as in the training.

    `step` is right when halving it changes nothing; it must be smaller than the posteriors are wide. `batch_size`
    counts grid points, and bounds the memory. Raises ValueError for another latent size, and for what are no images.
    """
    if model.latent_dim != 2:
        raise ValueError(f"model must have 2 latent dimensions to fit on a grid, got {model.latent_dim}")
    check_device(model, x=x)
    check_images("x", x)
    if not 0 < step < reach or batch_size < 1:
        raise ValueError(f"need 0 < step < reach and batch_size >= 1, got {step}, {reach} and {batch_size}")
    pixels = x.flatten(1).T  # (784, n)
    total = torch.full((len(x),), -math.inf, device=x.device)
    for z in grid(step, reach).to(x.device).split(batch_size):
        log_prior = -0.5 * z.square().sum(1) - math.log(2 * math.pi)  # (g,)
        joint = log_prior[:, None] + log_pixels(model.decode_logits(z).flatten(1), pixels)  # (g, n)
        total = torch.logaddexp(total, joint.logsumexp(0))
    return total + 2 * math.log(step)  # every point stands for a square of area step^2


def log_pixels(logits: Tensor, pixels: Tensor) -> Tensor:
    """Return log p(x|z) of every image under every decoding: (g, 784) logits, (784, n) pixels -> (g, n) nats.

    x log s(l) + (1 - x) log(1 - s(l)) = x l - log(1 + exp(l)) for the sigmoid s: the part that holds both is one matrix
    product, so a million pairs cost what a layer of a network costs.
    """
    return torch.addmm(-F.softplus(logits).sum(1, keepdim=True), logits, pixels)


def grid(step: float, reach: float) -> Tensor:
    """Return the points of a square grid, `step` apart, that lie within `reach` of the origin, (g, 2)."""
    side = round(reach / step)
    line = step * torch.arange(-side, side + 1)
    points = torch.cartesian_prod(line, line)
    return points[points.norm(dim=1) <= reach]


def _matrix(name: str, values: Array, d: int | None = None) -> np.ndarray:
    """Return features, (n, d), as a float64 array; raise ValueError by name for what cannot be that."""
    matrix = torch.as_tensor(values).detach().cpu().double()
    check_codes(name, matrix, d)
    return matrix.numpy()


def _labels(name: str, values: Array, n: int) -> np.ndarray:
    """Return n labels, (n,), as an array; raise ValueError by name for what cannot be that."""
    array = torch.as_tensor(values).cpu().numpy()
    if array.shape != (n,):
        raise ValueError(f"{name} must have shape ({n},), one label for each code, got {array.shape}")
    if not np.isfinite(array).all():
        raise ValueError(f"{name} must be finite: it holds NaN or infinity")
    return array
