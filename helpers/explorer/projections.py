"""From codes to places on a plane and back: what lets one explorer show a latent space of any dimension.

A projection takes codes, (n, d), to places, (n, 2), by `transform`, and back by `inverse_transform`; `plane` is what a
page needs to do the same, besides the points that it draws. It works on the CPU, where a place comes from and is read.
"""

import torch
from sklearn.decomposition import PCA
from sklearn.neighbors import KNeighborsRegressor
from torch import Tensor


class IdentityProjection:
    """The plane of codes that have two dimensions to begin with."""

    name = "z"

    plane: tuple = ()  # a place is a code

    def transform(self, codes: Tensor) -> Tensor:
        return codes

    def inverse_transform(self, places: Tensor) -> Tensor:
        return places


class PCAProjection:
    """The plane in which the codes, (n, d), spread most, as tensors: one place is not worth scikit-learn's checks."""

    name = "PCA"

    def __init__(self, codes: Tensor):
        pca = PCA(2).fit(codes.double().numpy())
        self.mean = torch.from_numpy(pca.mean_).float()  # (d,)
        self.axes = torch.from_numpy(pca.components_).float()  # (2, d)
        self.plane: tuple = (self.mean.tolist(), *self.axes.tolist())

    def transform(self, codes: Tensor) -> Tensor:
        return (codes.to(self.mean) - self.mean) @ self.axes.T

    def inverse_transform(self, places: Tensor) -> Tensor:
        return self.mean + places.to(self.mean) @ self.axes


class NeighbourProjection:
    """Any picture of the codes, such as a UMAP or t-SNE map, which has no inverse of its own.

    `codes`, (n, d), lie at `places`, (n, 2). What is not among them is the mean of its nearest neighbours, weighted by
    the inverse squared distance (Shepard 1968): at a training code that code, in between a blend.
    """

    name = "map"
    plane: tuple = ()

    def __init__(self, codes: Tensor, places: Tensor, neighbours: int = 8):
        def blend(source, target):
            # A tree, also in many dimensions: it computes every distance it compares, and one answer costs one core.
            knn = KNeighborsRegressor(min(neighbours, len(source)), weights=_inverse_square, algorithm="kd_tree")
            return knn.fit(source.numpy(), target.numpy())

        self._places_of, self._codes_of = blend(codes, places), blend(places, codes)

    def transform(self, codes: Tensor) -> Tensor:
        return torch.from_numpy(self._places_of.predict(codes.cpu().numpy())).float()

    def inverse_transform(self, places: Tensor) -> Tensor:
        return torch.from_numpy(self._codes_of.predict(places.cpu().numpy())).float()


def _inverse_square(distance):
    return 1 / (distance**2 + 1e-12)


Projection = IdentityProjection | PCAProjection | NeighbourProjection


def spread(projection: Projection, mu: Tensor, var: Tensor) -> Tensor:
    """Return the covariance on the plane, (2, 2), of a Gaussian code with mean and variance (d,).

    By 2 d codes around the mean that have its covariance (Julier & Uhlmann 1997): exact where the plane is straight.
    """
    steps = (len(var) * var).sqrt().diag()
    return projection.transform(torch.cat([mu + steps, mu - steps])).T.cov(correction=0)


def project(codes: Tensor, places: Tensor | None, drawn: Tensor) -> tuple[Projection, Tensor]:
    """Return the projection for codes, (n, d), and their places, (n, 2), on the device of the codes.

    `places` is a map of the codes made elsewhere; between its points, those that are `drawn` count, which the reader
    sees and a page has. Raises ValueError unless it is finite and has a place for every code.
    """
    if places is None:
        projection = IdentityProjection() if codes.shape[1] == 2 else PCAProjection(codes.cpu())
        return projection, projection.transform(codes).to(codes.device)
    places = torch.as_tensor(places, dtype=torch.float32, device="cpu")
    if places.shape != (len(codes), 2) or not places.isfinite().all():
        raise ValueError(f"places must be ({len(codes)}, 2) and finite, got {tuple(places.shape)}")
    return NeighbourProjection(codes.cpu()[drawn], places[drawn]), places.to(codes.device)
