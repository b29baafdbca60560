"""From an audited rule to the settings that a target is projected by, and to its weights."""

import numpy as np
import pytest

from flows.audit_settings import AuditSettings
from flows.auditing import rules_of
from flows.choosing import settings_of
from flows.settings import ProjectionSettings, RuleName
from flows.weighing import weigh_one
from tasks.audit.features import Record
from tasks.audit.looking import look_at
from tasks.audit.rules import BASE
from tasks.audit.scenes import stage_of, target_scenes
from tasks.projection.calibration import calibrate
from tasks.projection.preparation import fit_transform
from tests.audit.synthetic import prototype

HOW = AuditSettings()


@pytest.mark.parametrize("rule", [rule for rule in rules_of(HOW) if rule != BASE], ids=lambda rule: rule.name)
def test_a_target_is_composed_with_just_the_weights_that_the_audit_tried(rule):
    rng = np.random.default_rng(0)
    library = {f"r{i}": prototype(f"r{i}", rng.normal(size=12), rng, noise=0.01) for i in range(7)}
    target = prototype("t", rng.normal(size=12), rng, noise=0.01)
    stage = stage_of(library)
    scenes = target_scenes(stage, [target], neighbours=32)
    within = np.stack([library[name].within_std for name in stage.names])
    calibration = calibrate(stage.matrix, within)
    transform = fit_transform(rule.preparation, calibration, within_covariance=None)
    tried = look_at([rule], stage, scenes, {rule.preparation: transform}, Record({}, {}), tolerance=1e-6)

    how = settings_of(rule, ProjectionSettings())
    atoms = transform(stage.matrix)[scenes.indices[0]]
    prepared = calibrate(transform(stage.matrix), within)
    composed = weigh_one(how, atoms, transform(target.prototype[None])[0], prepared)
    np.testing.assert_allclose(composed.weights, tried.weights[rule.name][0], atol=1e-6)


def test_where_the_base_is_left_alone_the_projects_own_projection_is_composed_to_be_looked_at():
    how = ProjectionSettings(penalty=0.2)
    assert settings_of(BASE, how) == how.model_copy(update={"rule": RuleName.PROJECTION})
