"""The denoising loss as a metric."""

from tasks.evaluation.scores import Direction, Metric

DENOISING_LOSS = Metric("denoising_loss", Direction.LOWER, "squared error of unit noise")
