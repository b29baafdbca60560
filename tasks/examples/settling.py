"""What every worker process of an example does first."""

import torch
from transformers.utils import logging as transformers_logging


def settle(seed: int) -> None:
    """Make this worker process repeatable and quiet."""
    torch.set_num_threads(1)  # one thread: the sums, and so the files, are the same on every machine size
    torch.manual_seed(seed)
    transformers_logging.disable_progress_bar()
