"""Which examiner belongs to which family; each is imported only where it is used."""

from tasks.evaluation.examiners.examiner import Examiner
from tasks.evaluation.examiners.setting import Setting
from tasks.library.families import Family


def open_examiner(setting: Setting) -> Examiner:
    """The family's examiner with its base model and evaluation set loaded. Raises InvalidInput."""
    match setting.family:
        case Family.ENCODER:
            from tasks.evaluation.examiners.classification import open_classification

            return open_classification(setting)
        case Family.SEGMENTATION:
            from tasks.evaluation.examiners.segmentation import open_segmentation

            return open_segmentation(setting)
        case Family.CAUSAL_LM:
            from tasks.evaluation.examiners.causal_lm import open_causal_lm

            return open_causal_lm(setting)
        case Family.DIFFUSION:
            from tasks.evaluation.examiners.diffusion import open_diffusion

            return open_diffusion(setting)
