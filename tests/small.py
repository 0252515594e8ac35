"""Untrained models for the explorer's tests, here and in the kernels they start."""

from pathlib import Path

import torch

from helpers.models import CNN, VAE, ConditionalVAE

torch.manual_seed(0)
model, classifier = VAE(latent_dim=2).eval(), CNN().eval()
model.decoder[0].weight.data.mul_(8)  # steep, so that every place has its own picture
styled = ConditionalVAE(2, channels=(4, 4, 8), hidden=32).eval()
for layer in (*styled.encoder, *styled.joint, styled.mu, *styled.decoder):
    if hasattr(layer, "weight"):
        layer.weight.data.mul_(2.5)  # untrained ones would take all styles and digits for one
x, y = torch.rand(200, 1, 28, 28), torch.arange(200) % 10

SETUP = f"""import sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from small import classifier, model, styled, x, y
from helpers.explorer import LatentExplorer"""
