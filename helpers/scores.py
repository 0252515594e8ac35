"""Ask every autoencoder of the series the same four questions.

How well does it rebuild, who is whose neighbour, how do its codes cluster, how good are its samples?
"""

import torch
from sklearn.cluster import HDBSCAN

from helpers.analysis import fit_mixture, frechet_distance, knn_accuracy, sample_mixture
from helpers.checks import check_device, check_images
from helpers.clusters import score_clusters, umap_plane
from helpers.latent import decode, encode
from helpers.models import VariationalAutoencoder, eval_mode, normalise

SMALLEST = 0.06  # of all codes make a cluster: a digit has about a tenth


def scores(model, mnist, classifier, seed=0):
    """Return what can be compared between models that `encode` and `decode`, measured on the test images.

    - `mse`: squared reconstruction error, mean per pixel in [-1, 1], 4 times the value in [0, 1]; a VAE decodes mu.
    - `neighbours`: share of test codes whose digit wins the vote of the 10 nearest of all training codes.
    - `ari`, `noise`: HDBSCAN's clusters on the UMAP plane of the test codes, as `score_clusters` scores them.
    - `frechet`: distance of as many samples as test images to as many training images, on the features of `classifier`.

    A VAE samples its prior; a plain autoencoder has none and samples the Gaussian fitted to its training codes. One
    seed gives one result on one machine; UMAP, and with it `ari` and `noise`, may differ on another.
    """
    train, _, test = mnist
    reference = features(classifier, train.x[: len(test)])  # first: what does not fit is refused before the long part
    train_codes, test_codes = encode(model, train.x), encode(model, test.x)
    recon, drawn = decode(model, test_codes), decode(model, sample(model, train_codes, len(test), seed))
    hdbscan = HDBSCAN(round(SMALLEST * len(test)), min_samples=5, cluster_selection_method="leaf", copy=True)
    clusters = score_clusters(hdbscan.fit_predict(umap_plane(test_codes, seed=seed)), test.y)
    return {
        "mse": 4 * (recon - test.x).square().mean().item(),
        "neighbours": knn_accuracy(test_codes, test.y, reference=(train_codes, train.y)),
        "ari": clusters["ari"],
        "noise": clusters["noise"],
        "frechet": frechet_distance(features(classifier, drawn), reference),
    }


def sample(model, train_codes, n, seed=0):
    """Draw n codes, (n, latent_dim), where a model's codes should be: N(0, I) for a VAE, else their Gaussian."""
    if n < 1:
        raise ValueError(f"n must be at least 1, got {n}")
    if isinstance(model, VariationalAutoencoder):
        generator = torch.Generator().manual_seed(seed)
        return torch.randn(n, model.latent_dim, generator=generator).to(train_codes.device)
    return sample_mixture(fit_mixture(train_codes), n, seed).to(train_codes.device)


@torch.inference_mode()
def features(classifier, x, batch_size=1000):
    """Return what the last layer of a `CNN` reads of each image, (n, 1, 28, 28) -> (n, hidden)."""
    check_device(classifier, x=x)
    check_images("x", x)
    layers = classifier.head[:-1]
    with eval_mode(classifier):
        return torch.cat([layers(classifier.features(normalise(batch))) for batch in x.split(batch_size)])
