"""Blends of any size from disk to disk: one module in memory at a time, every source tensor read once for all targets.

Modules are the outer loop and targets the inner one: a night's targets share few adapters, so that reading and the Gram
matrices are paid once per module, not once per target.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from tasks.blending.adapter import Adapter
from tasks.blending.compatibility import check_blendable, layouts, union
from tasks.blending.factors import Factors, Layout, padded, zero
from tasks.blending.library_module import LibraryModule, read_library_module
from tasks.blending.module_blend import Blended, blend_module, decompose_targets, kept_rank
from tasks.blending.peft_files import write_config
from tasks.blending.profiles import Arrangement, Profile, arrange
from tasks.blending.recompression import Exact, Recompression, ToEnergy, ToRank
from tasks.blending.report import BlendReport, ModuleReport, summed
from tasks.blending.safetensors_writer import SafetensorsWriter
from tasks.blending.stacking import Term as StackTerm
from tasks.blending.stacking import stack_module
from tasks.blending.whole_parameters import Term, blended_parameters
from tasks.files import atomic_directory

RECIPE_NAME = "recipe.json"


@dataclass(frozen=True, slots=True)
class Job:
    """One blend to write: weights by the adapters' names, the directory to appear, the file's metadata and its recipe.

    The recipe, with the blend's report added, becomes `recipe.json` in the directory.
    """

    weights: Mapping[str, float]
    directory: Path
    metadata: Mapping[str, str]
    recipe: Mapping[str, Any]


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
    targets: Sequence[Target],
    recompression: Recompression,
    output: Output,
    *,
    spectra: bool,
    threads: int,
    device: torch.device,
) -> list[BlendReport]:
    """Write every target's directory, atomically, and report on it. Peak memory is `threads` modules of the adapters.

    Exact blends without `spectra` skip singular values and cost what reading and writing does; truncation needs them.
    """
    _load_linear_algebra(device)
    with _modules_at_once(threads) as at_once, ExitStack() as stack:
        ranks = _ranks(targets, recompression, at_once, device)
        files = [_File(target, chosen, output, stack) for target, chosen in zip(targets, ranks, strict=True)]
        if isinstance(recompression, Exact) and not spectra:
            at_once(lambda module: _stack(module, files, output.dtype), sorted(_layouts(targets)))
        else:
            at_once(lambda module: _blend(module, files, recompression, device), sorted(_layouts(targets)))
        return [file.finished() for file in files]


def _load_linear_algebra(device: torch.device) -> None:
    """On a GPU torch loads it at its first use, and fails where two threads do so at once."""
    if device.type == "cuda":
        torch.linalg.cholesky_ex(torch.eye(1, device=device))


AtOnce = Callable[[Callable[[str], None], Sequence[str]], None]


@contextmanager
def _modules_at_once(threads: int) -> Iterator[AtOnce]:
    """Run a function over modules on threads, each with its own single torch thread.

    Small factorisations do not fill two cores, and two modules at once do; on a busy machine threads inside one small
    operation also wait for one another (measured: 60 ms instead of 1 ms at a load of six on two cores).
    """
    previous = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with ThreadPoolExecutor(max_workers=threads) as pool:

            def run(work: Callable[[str], None], modules: Sequence[str]) -> None:
                futures = [pool.submit(work, module) for module in modules]
                try:
                    for future in futures:
                        future.result()
                finally:
                    # None may go on writing when the files are closed after a failure.
                    for future in futures:
                        future.cancel()
                    wait(futures)

            yield run
    finally:
        torch.set_num_threads(previous)


def _layouts(targets: Sequence[Target]) -> dict[str, Layout]:
    return layouts([adapter for target in targets for adapter in target.members])


def _library(module: str, targets: Sequence[Target], device: torch.device) -> LibraryModule:
    used = {adapter.name: adapter for target in targets for adapter in target.members}
    layout = next(target.shapes[module] for target in targets if module in target.shapes)
    return read_library_module(list(used.values()), module, layout, device=device)


def _ranks(
    targets: Sequence[Target], recompression: Recompression, at_once: AtOnce, device: torch.device
) -> list[dict[str, int]]:
    """The rank of every target's modules: known from the headers, but for an energy share, which takes a first pass."""
    match recompression:
        case Exact():
            return [_stacked_ranks(target) for target in targets]
        case ToRank(rank):
            return [{module: min(rank, most) for module, most in _stacked_ranks(t).items()} for t in targets]
        case ToEnergy():
            ranks: list[dict[str, int]] = [dict.fromkeys(target.shapes, 1) for target in targets]

            def measure(module: str) -> None:
                weights = [target.weights for target in targets]
                spectra = decompose_targets(_library(module, targets, device), weights)
                for found, spectrum in zip(ranks, spectra, strict=True):
                    if spectrum is not None:
                        found[module] = kept_rank(spectrum, recompression)

            at_once(measure, sorted(_layouts(targets)))
            return ranks


def _stacked_ranks(target: Target) -> dict[str, int]:
    adapters = [adapter for _, adapter in target.terms]
    return {
        module: max(sum(adapter.modules[module].rank for adapter in adapters if module in adapter.modules), 1)
        for module in target.shapes
    }


def _blend(module: str, files: "Sequence[_File]", recompression: Recompression, device: torch.device) -> None:
    wanted = [file for file in files if module in file.target.shapes]
    library = _library(module, [file.target for file in wanted], device)
    blended = blend_module(library, [file.target.weights for file in wanted], recompression)
    for file, found in zip(wanted, blended, strict=True):
        file.write(module, found)


def _stack(module: str, files: "Sequence[_File]", dtype: torch.dtype) -> None:
    for file in files:
        if module in file.target.shapes:
            terms = [(a.name, w, a.modules[module]) for w, a in file.target.terms if module in a.modules]
            file.write_stacked(module, terms, dtype)


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
        self._directory = stack.enter_context(atomic_directory(target.job.directory))
        naming = self._arrangement.naming
        write_config(self._directory, naming, self._arrangement.config)
        self._writer = stack.enter_context(
            SafetensorsWriter(
                self._directory / naming.weights_name,
                _declared(self._arrangement, parameters),
                dtype=output.dtype,
                metadata={"format": "pt", **target.job.metadata},
            )
        )
        for name, tensor in parameters.items():
            self._writer.write(naming.prefix + name, tensor)
        for module in set(self._arrangement.layouts) - set(target.shapes):
            self._write_zeros(module)

    def write(self, module: str, blended: Blended | None) -> None:
        """Write one blended module; zeros where no adapter with a weight has it."""
        if blended is None:
            self._write_zeros(module)
            return
        factors, self._reports[module] = blended
        layout, rank = self._arrangement.layouts[module], self._arrangement.ranks[module]
        self._write_pair(module, layout.stored(padded(factors, rank)))

    def write_stacked(self, module: str, terms: Sequence[StackTerm], dtype: torch.dtype) -> None:
        """Stack one module and write it."""
        layout, rank = self._arrangement.layouts[module], self._arrangement.ranks[module]
        if not terms:
            self._write_zeros(module)
            return
        a, b, self._reports[module] = stack_module(module, terms, dtype)
        if a.shape[0] != rank:
            a, b = layout.stored(padded(Factors(a=a.flatten(1), b=b.flatten(1), scale=1.0), rank))
        self._write_pair(module, (a, b))

    def _write_zeros(self, module: str) -> None:
        layout, rank = self._arrangement.layouts[module], self._arrangement.ranks[module]
        self._write_pair(module, layout.stored(zero(layout, rank)))

    def _write_pair(self, module: str, pair: tuple[torch.Tensor, torch.Tensor]) -> None:
        for key, tensor in zip(self._arrangement.keys(module), pair, strict=True):
            self._writer.write(key, tensor)

    def finished(self) -> BlendReport:
        """Write the recipe with the report of the whole blend, and return the report."""
        report = summed(self._arrangement.rank, dict(sorted(self._reports.items())))
        recipe = {**self.target.job.recipe, "blend": report.to_json()}
        text = json.dumps(recipe, indent=2, sort_keys=True) + "\n"
        (self._directory / RECIPE_NAME).write_text(text, encoding="utf-8")
        return report


def _declared(arrangement: Arrangement, parameters: Mapping[str, torch.Tensor]) -> dict[str, tuple[int, ...]]:
    found: dict[str, tuple[int, ...]] = {}
    for module, layout in arrangement.layouts.items():
        found.update(zip(arrangement.keys(module), layout.shapes(arrangement.ranks[module]), strict=True))
    found.update({arrangement.naming.prefix + name: tuple(tensor.shape) for name, tensor in parameters.items()})
    return dict(sorted(found.items()))
