"""Every number that compares sets of codes or of images, and the samplers and maps that such numbers are asked about.

What scikit-learn does, it does. Inputs are checked here, by name: its own refusals do not say which argument is wrong.
"""

import math
from collections.abc import Iterator

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.metrics import adjusted_mutual_info_score, adjusted_rand_score
from sklearn.mixture import GaussianMixture
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor, nn

from helpers.checks import check_classes, check_codes, check_device, check_images
from helpers.models import CNN, VariationalAutoencoder, eval_mode, normalise

Array = Tensor | np.ndarray
NOISE = -1  # the label of a code that no cluster took, as in scikit-learn


@torch.inference_mode()
def predict(classifier: nn.Module, images: Tensor, batch_size: int = 250) -> tuple[Tensor, Tensor]:
    """Return the class that a classifier reads in each image, (n,) int64, and its confidence in [0, 1], (n,).

    images: (n, 1, 28, 28) in [0, 1], or for a classifier's last layer the features of images, (n, d).
    """
    check_device(classifier, images=images)
    (check_codes if images.dim() == 2 else check_images)("images", images)
    with eval_mode(classifier):
        logits = torch.cat([classifier(batch) for batch in images.split(batch_size)])
    confidence, classes = logits.softmax(1).max(1)
    return classes, confidence


@torch.inference_mode()
def features(classifier: CNN, x: Tensor, batch_size: int = 250) -> Tensor:
    """Return the input of a CNN's last layer for each image, (n, 1, 28, 28) -> (n, hidden)."""
    check_device(classifier, x=x)
    check_images("x", x)
    layers = classifier.head[:-1]
    with eval_mode(classifier):
        return torch.cat([layers(classifier.features(normalise(batch))) for batch in x.split(batch_size)])


def effective_classes(y: Tensor, classes: int = 10) -> float:
    """Return how many equally frequent classes would be as varied as `y`, (n,): from 1 to `classes`.

    It is the exponential of the entropy of their shares.
    """
    check_classes("y", y, classes)
    shares = torch.bincount(y.cpu(), minlength=classes) / len(y)
    return float(torch.special.entr(shares).sum().exp())


def knn_accuracy(codes: Array, y: Array, k: int = 10, reference: tuple[Array, Array] | None = None) -> float:
    """Return the share of codes, (n, d), whose class in y, (n,), wins the vote of the k nearest codes.

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


def precision_recall(real: Array, fake: Array, k: int = 3) -> tuple[float, float]:
    """Return the share of `fake`, (m, d), that is like `real`, (n, d), and of `real` that is like `fake`, in [0, 1].

    A set claims a ball around each member, up to its k-th nearest other one. Precision is the share of fakes in a ball
    of the real, recall that of the real in a ball of the fakes (Kynkaanniemi et al. 2019, section 2). Compare only sets
    of equal size, and show what other real ones reach.
    """
    real, fake = _two_sets(_at_least_one(k), real=real, fake=fake)
    return _claimed(fake, real, k), _claimed(real, fake, k)


def density_coverage(real: Array, fake: Array, k: int = 5) -> tuple[float, float]:
    """Return how densely `fake`, (m, d), lies where `real`, (n, d), does, and how much of `real` it comes near to.

    Only the real have balls here, so that one stray fake claims nothing (Naeem et al. 2020, section 3). Density is the
    mean number of balls around a fake, over k: near 1 for two sets alike, more where fakes keep to the middle. Coverage
    is the share of balls with a fake, in [0, 1].
    """
    real, fake = _two_sets(_at_least_one(k), real=real, fake=fake)
    radii, held = _radii(real, k), torch.zeros(len(real))
    for distances in _distances(fake, real):
        held += (distances <= radii).sum(0)
    return held.sum().item() / (k * len(fake)), (held > 0).double().mean().item()


def two_sample_accuracy(a: Array, b: Array, seed: int = 0) -> float:
    """Return how often a small network tells members of a, (n, d), from members of b, (m, d), that it never saw.

    It learns from one random half of each and is asked about the other: 1/2 for sets that it cannot tell apart, 1 for
    sets that it always can (Lopez-Paz & Oquab 2017). Of a larger set, as many as the smaller has take part.
    """
    sets = [part.double().numpy() for part in _two_sets(20, a=a, b=b)]
    rng, n = np.random.default_rng(seed), min(map(len, sets))
    halves = [np.array_split(rng.permutation(part)[:n], 2) for part in sets]
    network = make_pipeline(
        StandardScaler(), MLPClassifier((128, 128), early_stopping=True, n_iter_no_change=5, random_state=seed)
    )
    learnt, asked = (np.concatenate(parts) for parts in zip(*halves, strict=True))
    network.fit(learnt, np.arange(2).repeat(len(learnt) // 2))
    return float(network.score(asked, np.arange(2).repeat(len(asked) // 2)))


def score_card(real: Array, fake: Array) -> dict[str, float]:
    """Return all that this module says of `fake`, (m, d), beside `real`, (n, d), features of as many images.

    - `frechet`, `precision`, `recall`, `density` and `coverage`: see the functions of these names;
    - `told`: the `two_sample_accuracy`.
    """
    precision, recall = precision_recall(real, fake)
    density, coverage = density_coverage(real, fake)
    return {
        "frechet": frechet_distance(fake, real),
        "precision": precision,
        "recall": recall,
        "density": density,
        "coverage": coverage,
        "told": two_sample_accuracy(fake, real),
    }


def nearest(a: Array, b: Array) -> tuple[Tensor, Tensor]:
    """Return the distance from each member of a, (n, d), to the nearest of b, (m, d), and the index of that, both (n,).

    A generator whose images lie nearer to the training images than other real ones do has learnt some by heart.
    """
    sets = _two_sets(0, a=a, b=b)
    found = [distances.min(1) for distances in _distances(sets[0], sets[1])]
    return torch.cat([each.values for each in found]), torch.cat([each.indices for each in found])


def _two_sets(k: int, **pair: Array) -> list[Tensor]:
    """Return two sets of features as float32 on the CPU; raise ValueError by name for sets that do not fit."""
    sets = [torch.from_numpy(_matrix(name, values)).float() for name, values in pair.items()]
    shapes = " and ".join(str(tuple(part.shape)) for part in sets)
    if sets[0].shape[1] != sets[1].shape[1]:
        raise ValueError(f"{' and '.join(pair)} must be (n, d) and (m, d), got {shapes}")
    if min(map(len, sets)) <= k:
        raise ValueError(f"{' and '.join(pair)} must be more than {k} each, got {shapes}")
    return sets


def _at_least_one(k: int) -> int:
    if k < 1:
        raise ValueError(f"k must be at least 1, got {k}")
    return k


def _claimed(a: Tensor, b: Tensor, k: int) -> float:
    """Return the share of a that lies in a ball of b."""
    radii = _radii(b, k)
    return torch.cat([(distances <= radii).any(1) for distances in _distances(a, b)]).double().mean().item()


def _radii(a: Tensor, k: int) -> Tensor:
    """Return the distance from each member of a to its k-th nearest other one, (n,)."""
    return torch.cat([distances.topk(k + 1, largest=False).values[:, -1] for distances in _distances(a, a)])


def _distances(a: Tensor, b: Tensor, rows: int = 1000) -> Iterator[Tensor]:
    """Iterate over the distances from some members of a to all of b, (rows, m): all at once would fill the memory."""
    return (torch.cdist(part, b) for part in a.split(rows))


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
    random = np.random.default_rng(seed)
    component = random.choice(len(mixture.weights_), n, p=mixture.weights_)
    # Cholesky's factor is unique; scikit-learn's own `sample` takes the singular vectors of the covariance,
    # whose signs, and with them the draws, differ from processor to processor
    factors = np.linalg.cholesky(mixture.covariances_)[component]
    noise = random.standard_normal((n, mixture.means_.shape[1]))
    return torch.from_numpy(mixture.means_[component] + np.einsum("nij,nj->ni", factors, noise)).float()


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
    """Compare clusters with classes, labels and y both (n,): `ari`, `ami`, `noise`, `clusters`.

    `ari` is the adjusted Rand index (Hubert & Arabie 1985) and `ami` the adjusted mutual information (Vinh et al.
    2010): 1 for the same partition, 0 on average for chance. Both count every code: all noise together is one more
    cluster, so leaving hard cases out is not free. `noise` is its share, `clusters` the number of the others; where
    all is noise, `ari` and `ami` are 0. Raises ValueError when y holds a single class: there is nothing to find.
    """
    y = _labels("y", y, len(y))
    labels = _labels("labels", labels, len(y))
    if len(np.unique(y)) < 2:
        raise ValueError(f"y must hold two different classes at least, got {np.unique(y)}")
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
    line = torch.arange(-side, side + 1)
    places = torch.cartesian_prod(line, line)
    return step * places[places.square().sum(1) <= (reach / step) ** 2 + 1e-6]  # whole numbers: the same everywhere


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
