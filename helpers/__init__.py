"""What several notebooks need: data, models, losses, one training loop, latent space, plots, the explorer."""
