"""The networks, in their shortest readable form.

Every model takes images of shape (n, 1, 28, 28) in [0, 1]; one that prefers another range converts them itself.
`model.config` holds the keyword arguments that rebuild it.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise

import torch
from torch import Tensor, nn

MEAN, STD = 0.1307, 0.3081  # of all pixels of the MNIST training images


def normalise(x: Tensor) -> Tensor:
    """Shift and scale images in [0, 1] to mean 0 and standard deviation 1 over the MNIST training set."""
    return (x - MEAN) / STD


@contextmanager
def eval_mode(*models: nn.Module) -> Iterator[None]:
    """Put models in eval mode, and afterwards every layer back in the mode it had."""
    training = [layer for model in models for layer in model.modules() if layer.training]
    try:
        for model in models:
            model.eval()
        yield
    finally:
        for layer in training:
            layer.training = True


class CNN(nn.Module):
    """Classify digits with two convolutions and two linear layers (after LeCun et al. 1998, section II).

    (n, 1, 28, 28) images in [0, 1] -> (n, classes) logits.
    """

    def __init__(self, channels=(32, 64), hidden=128, classes=10):
        super().__init__()
        self.config = {"channels": tuple(channels), "hidden": hidden, "classes": classes}
        first, second = channels
        self.features = nn.Sequential(
            nn.Conv2d(1, first, 3),  # (n, 32, 26, 26)
            nn.ReLU(),
            nn.MaxPool2d(2),  # (n, 32, 13, 13)
            nn.Conv2d(first, second, 3),  # (n, 64, 11, 11)
            nn.ReLU(),
            nn.MaxPool2d(2),  # (n, 64, 5, 5)
        )
        self.head = nn.Sequential(
            nn.Flatten(),
            nn.Linear(second * 5 * 5, hidden),
            nn.ReLU(),
            nn.Linear(hidden, classes),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(normalise(x)))


class Judge(nn.Module):
    """Classify digits with strides instead of pooling, batch norm, and an average instead of a hidden layer.

    A second opinion on what other networks draw: little of it is shared with `CNN` (after Springenberg et al. 2015).
    (n, 1, 28, 28) images in [0, 1] -> (n, classes) logits.
    """

    def __init__(self, channels=(16, 32, 64), classes=10):
        super().__init__()
        self.config = {"channels": tuple(channels), "classes": classes}
        a, b, c = channels
        self.layers = nn.Sequential(
            *conv_bn_relu(1, a),
            *conv_bn_relu(a, a, stride=2),  # (n, 16, 14, 14)
            *conv_bn_relu(a, b),
            *conv_bn_relu(b, b, stride=2),  # (n, 32, 7, 7)
            *conv_bn_relu(b, c),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),  # (n, 64)
            nn.Linear(c, classes),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(normalise(x))


def conv_bn_relu(inputs: int, outputs: int, stride: int = 1, padding: int = 1) -> tuple[nn.Module, ...]:
    """Return a 3x3 convolution, batch norm (Ioffe & Szegedy 2015) and ReLU; the norm's shift replaces the bias."""
    return nn.Conv2d(inputs, outputs, 3, stride, padding, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()


# The prior has logvar 0, so no good posterior comes near this. But one image in a million may overshoot in training,
# and its unbounded exp(logvar) has turned all weights into NaN.
MAX_LOGVAR = 5.0


class VariationalAutoencoder(nn.Module):
    """Encode an image as a Gaussian over codes z, decode z as Bernoulli logits per pixel (Kingma & Welling 2014).

    A subclass provides `encoder`, images -> (n, features), and `decoder`, (n, latent_dim) -> (n, 1, 28, 28) logits.
    """

    def __init__(self, encoder, features, decoder, latent_dim):
        super().__init__()
        self.latent_dim = latent_dim
        self.encoder = encoder
        self.mu = nn.Linear(features, latent_dim)
        self.logvar = nn.Linear(features, latent_dim)
        self.decoder = decoder

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return mu and logvar of q(z|x), each (n, latent_dim)."""
        h = self.encoder(x)
        return self.mu(h), self.logvar(h).clamp(max=MAX_LOGVAR)

    def decode_logits(self, z: Tensor) -> Tensor:
        """Return pixel logits, (n, 1, 28, 28), for codes z, (n, latent_dim)."""
        return self.decoder(z)

    def decode(self, z: Tensor) -> Tensor:
        """Return images in [0, 1], (n, 1, 28, 28), for codes z, (n, latent_dim)."""
        return torch.sigmoid(self.decode_logits(z))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return (logits, mu, logvar); z is drawn once per image."""
        mu, logvar = self.encode(x)
        return self.decode_logits(reparameterise(mu, logvar)), mu, logvar


def reparameterise(mu: Tensor, logvar: Tensor) -> Tensor:
    """Draw z ~ N(mu, exp(logvar)) so that gradients reach mu and logvar (Kingma & Welling 2014, section 2.4)."""
    return mu + torch.exp(0.5 * logvar) * torch.randn_like(mu)


def mlp_layers(sizes: Sequence[int], activation: type[nn.Module]) -> list[nn.Module]:
    """Return Linear layers from each size to the next, each followed by the activation."""
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(sizes):
        layers += [nn.Linear(inputs, outputs), activation()]
    return layers


class VAE(VariationalAutoencoder):
    """Variational autoencoder of linear layers; `encoder` and `decoder` are the widths of their hidden layers."""

    def __init__(self, latent_dim=2, encoder=(400,), decoder=(400,), activation="ReLU"):
        act = getattr(nn, activation)
        super().__init__(
            nn.Sequential(nn.Flatten(), *mlp_layers((784, *encoder), act)),
            encoder[-1],
            nn.Sequential(
                *mlp_layers((latent_dim, *decoder), act), nn.Linear(decoder[-1], 784), nn.Unflatten(1, (1, 28, 28))
            ),
            latent_dim,
        )
        self.config = dict(latent_dim=latent_dim, encoder=tuple(encoder), decoder=tuple(decoder), activation=activation)


class ConvVAE(VariationalAutoencoder):
    """Variational autoencoder of three convolutions and three transposed ones, with a linear layer next to the code."""

    def __init__(self, latent_dim=20, channels=(32, 64, 128), hidden=256):
        a, b, c = channels
        super().__init__(
            nn.Sequential(
                nn.Conv2d(1, a, 4, stride=2, padding=1),  # (n, 32, 14, 14)
                nn.SiLU(),
                nn.Conv2d(a, b, 4, stride=2, padding=1),  # (n, 64, 7, 7)
                nn.SiLU(),
                nn.Conv2d(b, c, 3, padding=1),  # (n, 128, 7, 7)
                nn.SiLU(),
                nn.Flatten(),
                nn.Linear(c * 7 * 7, hidden),
                nn.SiLU(),
            ),
            hidden,
            nn.Sequential(
                nn.Linear(latent_dim, hidden),
                nn.SiLU(),
                nn.Linear(hidden, c * 7 * 7),
                nn.SiLU(),
                nn.Unflatten(1, (c, 7, 7)),
                nn.ConvTranspose2d(c, b, 3, padding=1),  # (n, 64, 7, 7)
                nn.SiLU(),
                nn.ConvTranspose2d(b, a, 4, stride=2, padding=1),  # (n, 32, 14, 14)
                nn.SiLU(),
                nn.ConvTranspose2d(a, 1, 4, stride=2, padding=1),  # (n, 1, 28, 28)
            ),
            latent_dim,
        )
        self.config = {"latent_dim": latent_dim, "channels": tuple(channels), "hidden": hidden}


class Residual(nn.Module):
    """Add to a stack of feature maps, (n, channels, h, w), what two 3x3 convolutions make of it (He et al. 2016)."""

    def __init__(self, channels):
        super().__init__()
        self.change = nn.Sequential(
            nn.SiLU(),
            nn.Conv2d(channels, channels, 3, padding=1),
            nn.SiLU(),
            nn.Conv2d(channels, channels, 3, padding=1),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.change(x)


class ResidualVAE(VariationalAutoencoder):
    """Variational autoencoder with a small linear part, next to maps of 4 x 4, and residual blocks in the decoder."""

    def __init__(self, latent_dim=24, channels=(32, 64, 128), hidden=192):
        a, b, c = channels
        super().__init__(
            nn.Sequential(
                nn.Conv2d(1, a, 4, stride=2, padding=1),  # (n, 32, 14, 14)
                nn.SiLU(),
                nn.Conv2d(a, b, 4, stride=2, padding=1),  # (n, 64, 7, 7)
                nn.SiLU(),
                nn.Conv2d(b, c, 3, stride=2, padding=1),  # (n, 128, 4, 4)
                nn.SiLU(),
                nn.Flatten(),
                nn.Linear(c * 4 * 4, hidden),
                nn.SiLU(),
            ),
            hidden,
            nn.Sequential(
                nn.Linear(latent_dim, hidden),
                nn.SiLU(),
                nn.Linear(hidden, c * 4 * 4),
                nn.SiLU(),
                nn.Unflatten(1, (c, 4, 4)),
                nn.ConvTranspose2d(c, b, 3, stride=2, padding=1),  # (n, 64, 7, 7)
                Residual(b),
                nn.SiLU(),
                nn.ConvTranspose2d(b, a, 4, stride=2, padding=1),  # (n, 32, 14, 14)
                Residual(a),
                nn.SiLU(),
                nn.ConvTranspose2d(a, 1, 4, stride=2, padding=1),  # (n, 1, 28, 28)
            ),
            latent_dim,
        )
        self.config = {"latent_dim": latent_dim, "channels": tuple(channels), "hidden": hidden}


class ConditionalVAE(nn.Module):
    """Variational autoencoder that is told the digit on both ways, and so keeps only its style in the code.

    q(z|x, y) and p(x|z, y) in place of q(z|x) and p(x|z) (Kingma et al. 2014, section 2.1; Sohn et al. 2015): the
    convolutions of `ConvVAE`, with the label beside what they see, and beside the code. The prior of z is the same for
    every digit.
    """

    def __init__(self, latent_dim=12, channels=(32, 64, 128), hidden=256, classes=10):
        super().__init__()
        self.config = dict(latent_dim=latent_dim, channels=tuple(channels), hidden=hidden, classes=classes)
        self.latent_dim, self.classes = latent_dim, classes
        convolutional = ConvVAE(latent_dim + classes, channels, hidden)
        self.encoder, self.decoder = convolutional.encoder, convolutional.decoder
        self.joint = nn.Sequential(nn.Linear(hidden + classes, hidden), nn.SiLU())
        self.mu = nn.Linear(hidden, latent_dim)
        self.logvar = nn.Linear(hidden, latent_dim)

    def encode(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        """Return mu and logvar of q(z|x, y), each (n, latent_dim), for images and their digits y, (n,)."""
        h = self.joint(self._with_label(self.encoder(x), y))
        return self.mu(h), self.logvar(h).clamp(max=MAX_LOGVAR)

    def decode_logits(self, z: Tensor, y: Tensor) -> Tensor:
        """Return pixel logits, (n, 1, 28, 28), of digits y, (n,), in the styles z, (n, latent_dim)."""
        return self.decoder(self._with_label(z, y))

    def decode(self, z: Tensor, y: Tensor) -> Tensor:
        """Return images in [0, 1], (n, 1, 28, 28), of digits y, (n,), in the styles z, (n, latent_dim)."""
        return torch.sigmoid(self.decode_logits(z, y))

    def forward(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return (logits, mu, logvar); z is drawn once per image."""
        mu, logvar = self.encode(x, y)
        return self.decode_logits(reparameterise(mu, logvar), y), mu, logvar

    def _with_label(self, values: Tensor, y: Tensor) -> Tensor:
        """Return (n, d) values with the label as one number a class beside them, (n, d + classes)."""
        return torch.cat([values, nn.functional.one_hot(y, self.classes).to(values)], 1)


class Autoencoder(nn.Module):
    """Squeeze an image into a code z of a few numbers and build it again (after Hinton & Salakhutdinov 2006).

    A subclass provides `encoder`, images -> (n, latent_dim), and `decoder`, (n, latent_dim) -> (n, 1, 28, 28). Both
    work in [-1, 1], the range of the tanh at the end; outside, images are in [0, 1].
    """

    def __init__(self, encoder, decoder, latent_dim):
        super().__init__()
        self.latent_dim = latent_dim
        self.encoder = encoder
        self.decoder = decoder

    def encode(self, x: Tensor) -> Tensor:
        """Return the codes, (n, latent_dim)."""
        return self.encoder(2 * x - 1)

    def decode(self, z: Tensor) -> Tensor:
        """Return images in [0, 1], (n, 1, 28, 28), for codes z, (n, latent_dim)."""
        return (self.decoder(z) + 1) / 2

    def forward(self, x: Tensor) -> Tensor:
        """Return the reconstruction, (n, 1, 28, 28) in [0, 1]."""
        return self.decode(self.encode(x))


class CAE(Autoencoder):
    """Autoencoder of two convolutions and two transposed convolutions."""

    def __init__(self, latent_dim=32):
        super().__init__(
            nn.Sequential(
                nn.Conv2d(1, 16, 3, stride=2, padding=1),  # (n, 16, 14, 14)
                nn.ReLU(),
                nn.Conv2d(16, 32, 3, stride=2, padding=1),  # (n, 32, 7, 7)
                nn.ReLU(),
                nn.Flatten(),
                nn.Linear(32 * 7 * 7, latent_dim),
            ),
            nn.Sequential(
                nn.Linear(latent_dim, 32 * 7 * 7),
                nn.ReLU(),
                nn.Unflatten(1, (32, 7, 7)),
                nn.ConvTranspose2d(32, 16, 3, stride=2, padding=1, output_padding=1),  # (n, 16, 14, 14)
                nn.ReLU(),
                nn.ConvTranspose2d(16, 1, 3, stride=2, padding=1, output_padding=1),  # (n, 1, 28, 28)
                nn.Tanh(),
            ),
            latent_dim,
        )
        self.config = {"latent_dim": latent_dim}


class DeepCAE(Autoencoder):
    """Autoencoder with more channels, a third convolution, and kernels that a stride of 2 divides evenly."""

    def __init__(self, latent_dim=32):
        super().__init__(
            nn.Sequential(
                nn.Conv2d(1, 24, 4, stride=2, padding=1),  # (n, 24, 14, 14)
                nn.SiLU(),
                nn.Conv2d(24, 48, 4, stride=2, padding=1),  # (n, 48, 7, 7)
                nn.SiLU(),
                nn.Conv2d(48, 96, 3, padding=1),  # (n, 96, 7, 7)
                nn.SiLU(),
                nn.Flatten(),
                nn.Linear(96 * 7 * 7, latent_dim),
            ),
            nn.Sequential(
                nn.Linear(latent_dim, 96 * 7 * 7),
                nn.SiLU(),
                nn.Unflatten(1, (96, 7, 7)),
                nn.ConvTranspose2d(96, 48, 4, stride=2, padding=1),  # (n, 48, 14, 14)
                nn.SiLU(),
                nn.ConvTranspose2d(48, 1, 4, stride=2, padding=1),  # (n, 1, 28, 28)
                nn.Tanh(),
            ),
            latent_dim,
        )
        self.config = {"latent_dim": latent_dim}
