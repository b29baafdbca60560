"""Which learner belongs to which family; each is imported only where it is used."""

from tasks.library.families import Family
from tasks.training.job import TrainingJob
from tasks.training.learners.learner import Learner


def open_learner(job: TrainingJob) -> Learner:
    """The family's learner with its base model and rows loaded. Raises InvalidInput."""
    match job.family:
        case Family.ENCODER:
            from tasks.training.learners.classification import open_classification

            return open_classification(job)
        case Family.SEGMENTATION:
            from tasks.training.learners.segmentation import open_segmentation

            return open_segmentation(job)
        case Family.CAUSAL_LM:
            from tasks.training.learners.causal_lm import open_causal_lm

            return open_causal_lm(job)
        case Family.DIFFUSION:
            from tasks.training.learners.diffusion import open_diffusion

            return open_diffusion(job)
