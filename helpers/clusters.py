"""Describe and judge a grouping of codes: scores against the digits, centroids, the nearest cluster of another kind."""

import numpy as np
import torch
from sklearn.metrics import adjusted_mutual_info_score, adjusted_rand_score

from helpers.analysis import as_labels, as_matrix

NOISE = -1  # the label of a code that no cluster took, as in scikit-learn


def umap_plane(codes, neighbours=10, metric="euclidean", seed=0):
    """Return places for codes, (n, d) -> (n, 2), on a UMAP plane made for clustering.

    No minimal distance, so that dense regions contract (McInnes et al. 2018, and the clustering page of umap-learn's
    manual). `metric` is a name that umap-learn knows, such as "cosine". One seed gives one plane on one machine;
    another machine may draw another.
    """
    codes = as_matrix("codes", codes)
    if not 2 <= neighbours < len(codes):
        raise ValueError(f"codes must be more than neighbours = {neighbours} >= 2, got {len(codes)} codes")
    from umap import UMAP  # it takes seconds to import: only who draws a plane should wait

    plane = UMAP(n_neighbors=neighbours, min_dist=0.0, metric=metric, random_state=seed, n_jobs=1).fit_transform(codes)
    return torch.from_numpy(plane)


def score_clusters(labels, y):
    """Compare clusters with digits, labels and y both (n,): `ari`, `ami`, `noise`, `clusters`.

    `ari` is the adjusted Rand index (Hubert & Arabie 1985) and `ami` the adjusted mutual information (Vinh et al.
    2010): 1 for the same partition, 0 on average for chance. Both count every code: all noise together is one more
    cluster, so leaving hard cases out is not free. `noise` is its share, `clusters` the number of the others; where
    all is noise, `ari` and `ami` are 0. Raises ValueError when y holds a single digit: there is nothing to find.
    """
    y = as_labels("y", y, len(y))
    labels = as_labels("labels", labels, len(y))
    if len(np.unique(y)) < 2:
        raise ValueError(f"y must hold two different digits at least, got {np.unique(y)}")
    noise = labels == NOISE
    return {
        "ari": float(adjusted_rand_score(y, labels)),
        "ami": float(adjusted_mutual_info_score(y, labels)),
        "noise": float(noise.mean()),
        "clusters": len(np.unique(labels[~noise])),
    }


def centroids(codes, labels):
    """Return the names of the clusters in labels, (n,), in order, (k,), and the mean of each one's codes, (k, d).

    Noise has no centroid. Raises ValueError where all is noise.
    """
    codes = torch.as_tensor(as_matrix("codes", codes))
    labels = torch.as_tensor(as_labels("labels", labels, len(codes)))
    names = labels[labels != NOISE].unique()
    if not len(names):
        raise ValueError("labels must hold a cluster: all codes are noise")
    return names, torch.stack([codes[labels == name].mean(0) for name in names]).float()


def nearest_foreign(codes, labels, names, centres):
    """Return, for each code, (n, d), the nearest centroid of another cluster than its own: its name and distance, (n,).

    `names`, (k,), and `centres`, (k, d), are what `centroids` returns, of these codes or of others. A code that is
    noise belongs to none, so all are foreign to it. Raises ValueError where a code has no foreign cluster.
    """
    codes = torch.as_tensor(as_matrix("codes", codes)).float()
    labels = torch.as_tensor(as_labels("labels", labels, len(codes)))
    centres = torch.as_tensor(as_matrix("centres", centres, codes.shape[1])).float()
    names = torch.as_tensor(as_labels("names", names, len(centres)))
    own = labels[:, None] == names  # (n, k)
    if own.all(1).any():
        raise ValueError(f"names must hold another cluster for every code, got {names.tolist()}")
    distance, nearest = torch.cdist(codes, centres).masked_fill(own, torch.inf).min(1)
    return names[nearest], distance
