"""A change of what the room puts out has to come with a new VERSION."""

import numpy as np

import tasks.audit
from tasks.audit.features import Record
from tasks.audit.looking import look_at
from tasks.audit.scenes import stage_of, trial_scenes
from tasks.audit.trials import trials_of
from tasks.files import digest_value
from tests.audit.synthetic import IDENTITY, POLICY, RULES, audited, prototype, world

CORNERS = {"a": (4.0, 0.0), "b": (0.0, 4.0), "c": (0.0, 0.0), "d": (2.0, 1.0)}


def _rounded(values: np.ndarray) -> list:
    # The last digits are the platform's; infinities are kept as words, since JSON has none.
    return [value if np.isfinite(value) else str(value) for value in (np.round(values, 3) + 0.0).tolist()]


def test_weights_and_features_belong_to_the_version():
    """Three corners of a right triangle and a point in it, each left out of the other three; no noise.

    d = 1/2 a + 1/4 b + 1/4 c is in the hull, so that simplex and l1 both find these weights and no residual is left.
    Its distance to the centre (4/3, 4/3) of the corners is sqrt(5)/3, and their spread is 64/9, root 8/3: progress is
    sqrt(5)/8.
    """
    generator = np.random.default_rng(0)
    known = {name: prototype(name, np.pad(point, (0, 38)), generator, noise=0.0) for name, point in CORNERS.items()}
    stage, trials = stage_of(known), trials_of(list(CORNERS), halves=0, pools=0, seed=0)
    scenes = trial_scenes(stage, known, trials, neighbours=32)
    look = look_at(RULES, stage, scenes, IDENTITY, Record({}, {}), tolerance=1e-6)
    d = dict(zip(scenes.indices[3].tolist(), look.weights["l1 0.1"][3], strict=True))
    np.testing.assert_allclose([d[0], d[1], d[2]], [0.5, 0.25, 0.25], atol=1e-5)
    np.testing.assert_allclose(look.views(["progress"])["l1 0.1"].features[3], 5**0.5 / 8, atol=1e-5)
    outputs = {
        "weights": {rule: [_rounded(row) for row in found] for rule, found in look.weights.items()},
        "features": {rule: [_rounded(row) for row in found] for rule, found in look.features.items()},
        "trials": [trial.label for trial in trials_of(list(CORNERS), halves=1, pools=1, seed=0)],
    }
    assert (tasks.audit.VERSION, digest_value(outputs)) == ("3", "e6492401f14c1928447eff3b5879282e")


def test_choices_belong_to_the_version():
    w = world(0, shared=8, apart=2, targets=6, shuffled=False)
    found = audited(w, halves=0, pools=0, policy=POLICY, used=("progress",))
    fields = ("gain", "low", "high", "worst", "near")
    outputs = {
        name: {
            "rule": choice.rule.name,
            "expected": {
                rule: _rounded(np.array([getattr(one, field) for field in fields]))
                for rule, one in choice.expectations.items()
            },
        }
        for name, choice in found.choices.items()
    }
    assert (tasks.audit.VERSION, digest_value(outputs)) == ("3", "bfe0738e5b85a13b9ec202fe735fbc7e")
