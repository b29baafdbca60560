"""Which examiner belongs to which family; each is imported only where it is used."""

from tasks.evaluation.examiners.examiner import Examiner
from tasks.evaluation.examiners.setting import Setting
from tasks.files import InvalidInput, Problem
from tasks.library.families import Family


def open_examiner(setting: Setting) -> Examiner:
    """The family's examiner with its base model and evaluation set loaded. Raises InvalidInput."""
    if setting.family is Family.ENCODER:
        from tasks.evaluation.examiners.classification import open_classification

        return open_classification(setting)
    raise InvalidInput(
        Problem(setting.evaluation, f"family {setting.family} cannot be evaluated", "leave `evaluation` out")
    )
