"""Which learner belongs to which family."""

from tasks.evaluation.families import opener
from tasks.training.job import TrainingJob
from tasks.training.learners.learner import Learner


def open_learner(job: TrainingJob) -> Learner:
    """The family's learner with its base model and rows loaded. Raises InvalidInput."""
    learner: Learner = opener("tasks.training.learners", job.family)(job)
    return learner
