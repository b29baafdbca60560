"""A library whose truth is known: adapters are exact linear functions of a latent, skill is nearness to the truth."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from flows.audit_settings import AuditSettings
from flows.auditing import policy_of
from tasks.audit.choice import Choice, Policy, choose_rules
from tasks.audit.evidence import evidence_of
from tasks.audit.features import Record
from tasks.audit.gains import Evidence
from tasks.audit.looking import Look, look_at
from tasks.audit.rules import Rule, audited_rules
from tasks.audit.scenes import Scenes, Stage, stage_of, target_scenes, trial_scenes
from tasks.audit.trials import Trial, trials_of
from tasks.projection.preparation import Preparation, Transform
from tasks.prototypes.statistics import Prototype

DIMENSION = 40  # of prototypes
SPAN = 4  # of the latent that most references share
SAMPLES = 200

RULES = audited_rules(penalties=(0.03, 0.1), temperatures=(0.25,), preparations=(Preparation.RAW,))
POLICY = policy_of(AuditSettings())  # what is promised is what a user gets
IDENTITY = {Preparation.RAW: Transform(np.zeros(DIMENSION), np.ones(DIMENSION), None, False)}


@dataclass(frozen=True)
class World:
    """Prototypes of references and targets, everyone's true adapter, and the adapters the library really holds."""

    references: Mapping[str, Prototype]
    targets: Mapping[str, Prototype]
    truth: Mapping[str, np.ndarray]
    held: Mapping[str, np.ndarray]
    inside: tuple[str, ...]
    outside: tuple[str, ...]


def prototype(name: str, vector: np.ndarray, generator: np.random.Generator, *, noise: float) -> Prototype:
    error = noise * generator.standard_normal((2, len(vector)))
    halves = (vector + error).astype(np.float32)
    return Prototype(
        name=name,
        digest=name,
        base_model="base",
        revision="",
        layer="-1",
        pooling="mean",
        count=SAMPLES,
        prototype=halves.mean(axis=0).astype(np.float32),
        half_a=halves[0],
        half_b=halves[1],
        standard_error=float(noise * np.sqrt(len(vector) / 2)),
        within_std=np.ones(len(vector), dtype=np.float32),
    )


def world(seed: int, *, shared: int, apart: int, targets: int, shuffled: bool) -> World:
    """`shared` references within a SPAN-dimensional latent and `apart` ones in directions of their own.

    Half of the targets are mixtures of the shared references, with negative weights too; the other half lie as far out
    in directions that no reference has. With `shuffled` the library's adapters belong to other references.
    """
    generator = np.random.default_rng(seed)
    axes = np.linalg.qr(generator.standard_normal((DIMENSION, DIMENSION)))[0]
    lift = generator.standard_normal((60, DIMENSION)) / np.sqrt(DIMENSION)  # latent to adapter
    within = generator.standard_normal((shared, SPAN)) @ axes[:SPAN]
    own = 2.0 * axes[SPAN : SPAN + apart]
    mixing = generator.dirichlet(np.ones(shared), size=targets // 2) * 2.0 - 1.0 / shared
    inside = mixing @ within
    beyond = generator.standard_normal((targets // 2, DIMENSION - SPAN - apart)) @ axes[SPAN + apart :]
    outside = 2.0 * beyond / np.linalg.norm(beyond, axis=1, keepdims=True)
    latent = {f"reference {i:02d}": row for i, row in enumerate([*within, *own])}
    asked = {f"inside {i:02d}": row for i, row in enumerate(inside)}
    asked |= {f"outside {i:02d}": row for i, row in enumerate(outside)}
    truth = {name: lift @ row for name, row in (latent | asked).items()}
    held = {name: truth[name] for name in latent}
    if shuffled:
        held = dict(zip(latent, [truth[name] for name in generator.permutation(list(latent))], strict=True))
    made = {name: prototype(name, row, generator, noise=0.02) for name, row in (latent | asked).items()}
    return World(
        references={name: made[name] for name in latent},
        targets={name: made[name] for name in asked},
        truth=truth,
        held=held,
        inside=tuple(name for name in asked if name.startswith("inside")),
        outside=tuple(name for name in asked if name.startswith("outside")),
    )


def skill(delta: np.ndarray, wanted: np.ndarray) -> float:
    """Between 0 and 1: full with the true adapter, and nothing, as the base, from about its own length away."""
    return float(np.exp(-6.0 * np.square(delta - wanted).sum() / np.square(wanted).sum()))


def measured(w: World, names: tuple[str, ...], weights: np.ndarray, generator: np.random.Generator) -> float:
    """Mean score of a blend on the members' samples, with the noise that SAMPLES samples leave."""
    blend = sum((weight * w.held[name] for name, weight in weights_of(weights, w).items()), np.zeros(60))
    means = np.array([skill(blend, w.truth[name]) for name in names])
    return float(np.mean(means + generator.standard_normal(len(means)) * np.sqrt(means * (1 - means) / SAMPLES)))


def weights_of(weights: np.ndarray, w: World) -> dict[str, float]:
    return {name: float(weight) for name, weight in zip(sorted(w.references), weights, strict=True) if weight}


def gains_of(
    w: World, stage: Stage, scenes: Scenes, members: list[tuple[str, ...]], look: Look
) -> dict[str, np.ndarray]:
    """True gain (t,) of every rule over the base, as an evaluation would measure it."""
    generator = np.random.default_rng(1)
    out = {}
    for rule, weights in look.weights.items():
        full = np.zeros((scenes.count, len(stage.names)))
        np.put_along_axis(full, scenes.indices, weights, axis=1)
        none = np.zeros(len(stage.names))
        out[rule] = np.array(
            [
                measured(w, names, row, generator) - measured(w, names, none, generator)
                for names, row in zip(members, full, strict=True)
            ]
        )
    return out


def ceilings_of(w: World, trials: tuple[Trial, ...]) -> np.ndarray:
    """What the members' own adapters gain over the base (t,), as an evaluation would measure it."""
    generator, names = np.random.default_rng(2), sorted(w.references)
    own = dict(zip(names, np.eye(len(names)), strict=True))
    alone = {
        name: measured(w, (name,), own[name], generator) - measured(w, (name,), 0.0 * own[name], generator)
        for name in names
    }
    return np.array([np.mean([alone[name] for name in trial.members]) for trial in trials])


@dataclass(frozen=True)
class Audited:
    """What an audit of a world chose for its targets, and what each choice gains in truth."""

    choices: Mapping[str, Choice]
    gains: Mapping[str, Mapping[str, float]]  # target -> rule -> gain
    trials: tuple[Trial, ...]
    trial_gains: Mapping[str, np.ndarray]
    evidence: Mapping[str, Evidence]
    rules: tuple[Rule, ...]


def audited(w: World, *, halves: int, pools: int, policy: Policy, used: tuple[str, ...]) -> Audited:
    stage = stage_of(w.references)
    trials = trials_of(stage.names, halves=halves, pools=pools, seed=0)
    scenes = trial_scenes(stage, w.references, trials, neighbours=32)
    record = Record({}, {})
    look = look_at(RULES, stage, scenes, IDENTITY, record, tolerance=1e-6)
    gains = gains_of(w, stage, scenes, [trial.members for trial in trials], look)
    evidence = evidence_of(trials, look.features, gains, ceilings_of(w, trials), used=used)
    names = list(w.targets)
    asked = target_scenes(stage, [w.targets[name] for name in names], neighbours=32)
    seen = look_at(RULES, stage, asked, IDENTITY, record, tolerance=1e-6)
    choices = choose_rules(RULES, evidence, seen.views(used), policy)
    true = gains_of(w, stage, asked, [(name,) for name in names], seen)
    by_target = {name: {rule: float(values[i]) for rule, values in true.items()} for i, name in enumerate(names)}
    return Audited(dict(zip(names, choices, strict=True)), by_target, trials, gains, evidence, RULES)
