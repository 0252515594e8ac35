"""From codes to places on a plane and back: what lets one explorer show a latent space of any dimension.

A map has `place`, codes (n, d) -> places (n, 2), `lift`, places (n, 2) -> codes (n, d), `spread`, the covariance on the
plane, (2, 2), of a Gaussian code, and a `name`. A map stays on the CPU, where a place comes from and where it is read.
"""

import torch


class Itself:
    """A plane of codes that have two dimensions to begin with."""

    name = "z"

    def place(self, codes):
        return codes

    def lift(self, places):
        return places

    def spread(self, mu, var):
        return torch.diag(var)


class PCAMap:
    """The plane in which the codes, (n, d), spread most; for codes that lie in it, `lift` inverts `place`."""

    name = "PCA"

    def __init__(self, codes):
        self.mean = codes.mean(0)
        # The rows of V are the principal directions, widest first (Pearson 1901).
        self.axes = torch.linalg.svd(codes - self.mean, full_matrices=False).Vh[:2]  # (2, d)

    def place(self, codes):
        return (codes.to(self.mean) - self.mean) @ self.axes.T

    def lift(self, places):
        return self.mean + places.to(self.mean) @ self.axes

    def spread(self, mu, var):
        return self.axes * var @ self.axes.T


def distances(queries, keys):
    """Return the distances from queries, (n, d), to keys, (m, d): (n, m), so exact that the nearest is the nearest.

    By the difference of squares, cdist's own choice for many keys, a distance near zero is off by more than neighbours
    lie apart; and for one query that way takes four times as long.
    """
    return torch.cdist(queries, keys, compute_mode="donot_use_mm_for_euclid_dist")


class NeighbourMap:
    """Any picture of the codes, such as a UMAP or t-SNE map, which has no inverse of its own.

    `codes`, (n, d), lie at `places`, (n, 2). What is not among them is the mean of its nearest neighbours, weighted by
    the inverse squared distance (Shepard 1968): at a training code that code, in between a blend.
    """

    name = "map"

    def __init__(self, codes, places, neighbours=8):
        self.codes, self.places, self.neighbours = codes, places, min(neighbours, len(codes))

    def place(self, codes):
        return self._blend(codes, self.codes, self.places)

    def lift(self, places):
        return self._blend(places, self.places, self.codes)

    def spread(self, mu, var):
        generator = torch.Generator().manual_seed(0)
        noise = torch.randn(256, len(mu), generator=generator).to(mu)
        return self.place(mu + noise * var.sqrt()).T.cov()

    def _blend(self, queries, keys, values):
        blends = []
        for part in queries.to(keys).split(64):  # 64 rows of distances to 55,000 codes are 14 MB
            distance, index = distances(part, keys).topk(self.neighbours, largest=False)
            weight = 1 / (distance**2 + 1e-12)
            blends.append((weight / weight.sum(1, keepdim=True)).unsqueeze(2).mul(values[index]).sum(1))
        return torch.cat(blends)
