"""Blends of any size from disk to disk: one module in memory at a time, every source tensor read once for all targets.

Modules are the outer loop and targets the inner one: a night's targets share few adapters, so that reading and the Gram
matrices are paid once per module, not once per target.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import torch

from tasks.blending.adapter import Adapter
from tasks.blending.compatibility import check_blendable, layouts, union
from tasks.blending.factors import Factors, Layout, padded, zero
from tasks.blending.library_module import LibraryModule, choose, decompose, read_library_module
from tasks.blending.module_blend import blend_module, kept_rank
from tasks.blending.peft_files import write_config
from tasks.blending.profiles import Arrangement, Profile, arrange
from tasks.blending.recompression import Exact, Recompression, ToEnergy, ToRank
from tasks.blending.report import BlendReport, ModuleReport, summed
from tasks.blending.safetensors_writer import SafetensorsWriter
from tasks.blending.whole_parameters import Term, blended_parameters
from tasks.files import atomic_directory


@dataclass(frozen=True, slots=True)
class Job:
    """One blend to write: weights by the adapters' names, the directory to appear, and the file's metadata."""

    weights: Mapping[str, float]
    directory: Path
    metadata: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Output:
    """How files are written: profile, element type (rounded to once), and the base model's canonical name."""

    profile: Profile
    dtype: torch.dtype
    base_model_name: str
    revision: str | None


@dataclass(frozen=True, slots=True)
class Target:
    """A job with everything that is known before its tensors are read, except the ranks of an energy truncation."""

    job: Job
    terms: Sequence[Term]
    members: Sequence[Adapter]
    shapes: Mapping[str, Layout]

    @property
    def weights(self) -> dict[str, float]:
        """Weights other than zero, by adapter's name."""
        return {adapter.name: weight for weight, adapter in self.terms}


def check_job(adapters: Mapping[str, Adapter], job: Job) -> Target:
    """Decide whether a job can be done. Raises InvalidInput with every reason against it; reads no tensor."""
    members = [adapters[name] for name in job.weights]
    terms = check_blendable(members, list(job.weights.values()))
    kept = union(members, terms)
    return Target(job=job, terms=terms, members=kept, shapes=layouts(kept))


def stream_blends(
    targets: Sequence[Target], recompression: Recompression, output: Output, *, device: torch.device
) -> list[BlendReport]:
    """Write every target's directory, atomically, and report on it. Peak memory is one module of the adapters used."""
    ranks = _ranks(targets, recompression, device)
    with ExitStack() as stack:
        files = [_File(target, chosen, output, stack) for target, chosen in zip(targets, ranks, strict=True)]
        for module, library in _modules(targets, device):
            for file in files:
                if module in file.target.shapes:
                    file.write(module, library, recompression)
        return [file.finished() for file in files]


def _modules(targets: Sequence[Target], device: torch.device) -> Iterator[tuple[str, LibraryModule]]:
    used = {adapter.name: adapter for target in targets for adapter in target.members}
    for module, layout in layouts(list(used.values())).items():
        yield module, read_library_module(list(used.values()), module, layout, device=device)


def _ranks(targets: Sequence[Target], recompression: Recompression, device: torch.device) -> list[dict[str, int]]:
    """The rank of every target's modules: known from the headers, but for an energy share, which takes a first pass."""
    match recompression:
        case Exact():
            return [_stacked_ranks(target) for target in targets]
        case ToRank(rank):
            return [{module: min(rank, most) for module, most in _stacked_ranks(t).items()} for t in targets]
        case ToEnergy():
            return _energy_ranks(targets, recompression, device)


def _stacked_ranks(target: Target) -> dict[str, int]:
    adapters = [adapter for _, adapter in target.terms]
    return {
        module: max(sum(adapter.modules[module].rank for adapter in adapters if module in adapter.modules), 1)
        for module in target.shapes
    }


def _energy_ranks(targets: Sequence[Target], wanted: ToEnergy, device: torch.device) -> list[dict[str, int]]:
    ranks: list[dict[str, int]] = [dict.fromkeys(target.shapes, 1) for target in targets]
    for module, library in _modules(targets, device):
        for target, found in zip(targets, ranks, strict=True):
            if (chosen := choose(library, target.weights)) is not None:
                found[module] = kept_rank(decompose(library, chosen), wanted)
    return ranks


class _File:
    """The open output of one target."""

    def __init__(self, target: Target, ranks: Mapping[str, int], output: Output, stack: ExitStack) -> None:
        self.target = target
        parameters = blended_parameters(target.terms)
        self._arrangement = arrange(
            output.profile,
            target.members,
            target.shapes,
            ranks,
            heads=bool(parameters),
            base_model_name=output.base_model_name,
            revision=output.revision,
        )
        self._reports: dict[str, ModuleReport] = {}
        directory = stack.enter_context(atomic_directory(target.job.directory))
        naming = self._arrangement.naming
        write_config(directory, naming, self._arrangement.config)
        self._writer = stack.enter_context(
            SafetensorsWriter(
                directory / naming.weights_name,
                _declared(self._arrangement, parameters),
                dtype=output.dtype,
                metadata={"format": "pt", **target.job.metadata},
            )
        )
        for name, tensor in parameters.items():
            self._writer.write(naming.prefix + name, tensor)
        for module in set(self._arrangement.layouts) - set(target.shapes):
            self._write_factors(module, None)

    def write(self, module: str, library: LibraryModule, recompression: Recompression) -> None:
        """Blend one module and hand it to the disk."""
        found = blend_module(library, self.target.weights, recompression)
        if found is not None:
            self._reports[module] = found[1]
        self._write_factors(module, None if found is None else found[0])

    def _write_factors(self, module: str, factors: Factors | None) -> None:
        layout, rank = self._arrangement.layouts[module], self._arrangement.ranks[module]
        filled = zero(layout, rank) if factors is None else padded(factors, rank)
        for key, tensor in zip(self._arrangement.keys(module), layout.stored(filled), strict=True):
            self._writer.write(key, tensor)

    def finished(self) -> BlendReport:
        """The report of the whole blend."""
        return summed(self._arrangement.rank, self._reports)


def _declared(arrangement: Arrangement, parameters: Mapping[str, torch.Tensor]) -> dict[str, tuple[int, ...]]:
    found: dict[str, tuple[int, ...]] = {}
    for module, layout in arrangement.layouts.items():
        found.update(zip(arrangement.keys(module), layout.shapes(arrangement.ranks[module]), strict=True))
    found.update({arrangement.naming.prefix + name: tuple(tensor.shape) for name, tensor in parameters.items()})
    return dict(sorted(found.items()))
