"""Which examiner belongs to which family."""

from tasks.evaluation.examiners.examiner import Examiner
from tasks.evaluation.examiners.setting import Setting
from tasks.evaluation.families import opener


def open_examiner(setting: Setting) -> Examiner:
    """The family's examiner with its base model and evaluation set loaded. Raises InvalidInput."""
    examiner: Examiner = opener("tasks.evaluation.examiners", setting.family)(setting)
    return examiner
