"""Stage: Ray Tune searches the rendering hyperparameters."""
