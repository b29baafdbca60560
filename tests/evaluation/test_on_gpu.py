"""Scores taken on a GPU are those of the CPU, to rounding."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tasks.evaluation.examiners.setting import Setting
from tests.evaluation.test_families import domain, folder, llama, painter, sam, scores

pytestmark = pytest.mark.gpu

__all__ = ["domain", "folder", "llama", "painter", "sam"]  # the fixtures of test_families, used below


def test_a_gpu_gives_the_cpus_scores(domain: tuple[Setting, Path]) -> None:
    setting, adapter = domain
    here, there = scores(setting, adapter), scores(replace(setting, device="cuda"), adapter)
    assert there.scores.keys() == here.scores.keys()
    for method, values in here.values.items():
        # Float32 in another order; a mask's pixel may tip over, of 240 of them.
        np.testing.assert_allclose(there.values[method][here.primary], values[here.primary], rtol=2e-3, atol=5e-3)
