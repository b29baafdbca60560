"""Which rule a task gets: the best of those sure to gain there, and the base model where nothing is sure to.

Whether a rule gains is asked of tasks like this one, and its bound from below answers. Which of several does best is
asked of all audited tasks first: every rule was scored on the same ones, and the mean of paired differences is far
surer than a comparison of bounds, each from its own rule's regression on its own features. Those that it surely beats
are dropped. Of the others the most promising is taken: what a rule is expected to gain on this task and what it gained
over all audited ones count half each, as the one knows the task and the other rests on more.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tasks.audit.gains import Evidence, Expectation, GainModel, View, expect, folds_of, headroom, learn
from tasks.audit.rules import BASE, Rule
from tasks.audit.standing import Standing, standing_of

NOTHING = Expectation(0.0, 0.0, 0.0, 0.0, True, float("inf"))  # what the base gains over itself, for certain


@dataclass(frozen=True, slots=True)
class Policy:
    """How evidence becomes a choice.

    shrinkage: ridge penalty per trial; folds: groups of references that bounds are found on; confidence: of each
    one-sided bound; margin: up to how many times the farthest trial a task counts as seen, in leverage and in squared
    distance to its nearest reference;
    least: references that were left out must resemble a task, in number, to judge it alone, without pools;
    floor: gain that the lower bound must pass; tie: promises nearer than this are equal. Both are shares of what
    the library's own adapters gain at home, since metrics differ in their units.
    """

    shrinkage: float
    folds: int
    confidence: float
    margin: float
    least: float
    floor: float
    tie: float


@dataclass(frozen=True, slots=True)
class Choice:
    """A task's rule, what it is expected to gain, and what every other rule was expected to; `reason` says why."""

    rule: Rule
    expectation: Expectation
    expectations: Mapping[str, Expectation]
    seen: bool  # False: the task lies outside of what the audit has seen, under every rule but the base
    reason: str


def choose(
    rules: Sequence[Rule],
    expectations: Mapping[str, Expectation],
    standing: Standing,
    policy: Policy,
    *,
    unit: float,
) -> Choice:
    """The most promising of the rules whose lower bound passes the floor and that none of them surely beats; else base.

    `standing` is how rules did on the audited tasks, `unit` what the library's own adapters gain at home: where that is
    nothing, nothing is chosen. Of promises that are equal the safest rule's is taken.
    """
    floor, tie = policy.floor * unit, policy.tie * unit
    known = {rule.name: expectations[rule.name] for rule in rules if rule.name in expectations and rule != BASE}
    seen = any(one.seen for one in known.values())
    full = {BASE.name: NOTHING, **known}
    passing = [rule for rule in rules if rule.name in known and unit > 0 and known[rule.name].low > floor]
    if not passing:
        return Choice(BASE, NOTHING, full, seen, _reason_for_base(known, seen=seen, policy=policy, unit=unit))
    rivals = frozenset(rule.name for rule in passing)
    unbeaten = [rule for rule in passing if not standing.beaten(rule.name, rivals, confidence=policy.confidence)]
    promises = {rule: (known[rule.name].gain + standing.gains[rule.name]) / 2.0 for rule in unbeaten}
    most = max(promises.values())
    rule = min((one for one, promise in promises.items() if promise >= most - tie), key=lambda one: one.caution)
    own = known[rule.name]
    reason = (
        f"{rule.name} is expected to gain {own.gain:+.4f}, on average over tasks like this one more than "
        f"{own.low:+.4f} (confidence {policy.confidence:.0%}); {len(passing)} of {len(known)} rules pass the floor "
        f"{floor:.4g}, {len(passing) - len(unbeaten)} of them surely gain less than another over all audited tasks (it "
        f"gained {standing.gains[rule.name]:+.4f} there); by the mean of both none of the rest is better by {tie:.4g}"
    )
    return Choice(rule, own, full, seen, reason)


def _reason_for_base(known: Mapping[str, Expectation], *, seen: bool, policy: Policy, unit: float) -> str:
    if not known:
        return "the audit holds no result yet, so the base model is left alone"
    if unit <= 0:
        return "the library's own adapters are not sure to gain anything at home, so the base model is left alone"
    if not seen:
        return "the target lies outside of what the audit has seen, so the base model is left alone"
    name, best = max(known.items(), key=lambda item: (item[1].low, item[1].gain))
    return (
        f"no rule is sure to gain more than {policy.floor * unit:.4g}: the surest, {name}, is expected to gain "
        f"{best.gain:+.4f} but tasks like this one may gain only {best.low:+.4f} (confidence {policy.confidence:.0%})"
    )


Models = Mapping[str, GainModel]


def learn_all(evidence: Mapping[str, Evidence], policy: Policy) -> dict[str, GainModel]:
    """A gain model for every rule that has a result."""
    return {
        name: learn(one, shrinkage=policy.shrinkage, folds=policy.folds, confidence=policy.confidence)
        for name, one in evidence.items()
        if len(one.gains)
    }


def _tiers(evidence: Mapping[str, Evidence], policy: Policy) -> tuple[Models, Models]:
    real = {name: one.rows(one.real) for name, one in evidence.items()}
    return learn_all(real, policy), learn_all(evidence, policy)


def _expected(tiers: tuple[Models, Models], views: Mapping[str, View], policy: Policy) -> dict[str, list[Expectation]]:
    """Expectations (t) by rule: from the references left out where enough of them resemble the task, else from all."""
    real, everything = tiers
    found = {name: expect(model, views[name], margin=policy.margin) for name, model in everything.items()}
    for name, model in real.items():
        alone = expect(model, views[name], margin=policy.margin)
        found[name] = [
            one if one.bounded and one.near >= policy.least else other
            for one, other in zip(alone, found[name], strict=True)
        ]
    return found


def choose_rules(
    rules: Sequence[Rule], evidence: Mapping[str, Evidence], views: Mapping[str, View], policy: Policy
) -> list[Choice]:
    """A choice for each of t tasks, which every rule has a view of.

    References that were left out are real tasks, and judge every task that is like them; pools are made up (a blend
    may fail on two tasks at once and yet serve each), and are asked only where too few references are like the task.
    """
    found = _expected(_tiers(evidence, policy), views, policy)
    count = max((len(view.distances) for view in views.values()), default=0)
    standing = standing_of(evidence, folds=policy.folds)
    unit = max((headroom(one, confidence=policy.confidence) for one in evidence.values()), default=0.0)
    expected = [{name: many[row] for name, many in found.items()} for row in range(count)]
    return [choose(rules, one, standing, policy, unit=unit) for one in expected]


def backtest(rules: Sequence[Rule], evidence: Mapping[str, Evidence], policy: Policy) -> list[Choice]:
    """The choice that each trial would get from an audit without any of its members: the whole procedure, judged.

    Every rule's evidence must list the same trials in the same order.
    """
    first = next(iter(evidence.values()))
    home = {name: fold for fold in folds_of(first.members, most=policy.folds) for name in fold}
    unseen = [frozenset[str]().union(*(home[name] for name in members)) for members in first.members]
    choices: dict[int, Choice] = {}
    for names in set(unseen):
        outside = np.array([not members & names for members in first.members])
        asked = [row for row, one in enumerate(unseen) if one == names]
        rest = {rule: one.rows(outside) for rule, one in evidence.items()}
        views = {rule: one.view.rows(asked) for rule, one in evidence.items()}
        choices |= dict(zip(asked, choose_rules(rules, rest, views, policy), strict=True))
    return [choices[row] for row in range(len(first.members))]
