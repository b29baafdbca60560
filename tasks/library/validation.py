"""Everything that is wrong with a library and its targets, found at once and without computing anything."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tasks.files import InvalidInput, Problem, digest_value
from tasks.library import VERSION
from tasks.library.adapter_checks import BaseShapes, examine_adapter
from tasks.library.base_model import BaseModel
from tasks.library.entries import Entry, lines_of
from tasks.library.families import DESCRIBABLE, SAMPLE_COLUMNS, Family
from tasks.library.memory import Memory, Verdict
from tasks.library.module_shapes import module_shapes
from tasks.library.names import name_problems
from tasks.library.safetensors_header import CorruptFile, read_headers
from tasks.library.sample_checks import examine_samples
from tasks.library.samples import digest_of

_LEAST_SAMPLES = 2  # one for each half of the split-half means


@dataclass(frozen=True, slots=True)
class Examination:
    """The entries that are sound, and what is wrong with the others."""

    library: tuple[Entry, ...]
    targets: tuple[Entry, ...]
    problems: tuple[Problem, ...]


def examine(
    library: Sequence[Entry],
    targets: Sequence[Entry],
    *,
    base: BaseModel,
    family: Family,
    aliases: frozenset[str],
    root: Path,
    memory: Memory,
) -> Examination:
    """Examine every entry; what has not changed since it was last examined is answered from `memory`.

    A problem's item is the entry's name, a target's with the word "target" before it.
    """
    shapes = _base_shapes(base, aliases, root, memory)
    check = _EntryCheck(shapes, family, _pixel_count(base), memory)
    sound_library, library_problems = _split(library, "", check.reference)
    sound_targets, target_problems = _split(targets, "target ", check.target)
    return Examination(sound_library, sound_targets, library_problems + target_problems)


def problems_of(
    library: Sequence[Entry],
    targets: Sequence[Entry],
    *,
    base: BaseModel,
    family: Family,
    aliases: frozenset[str],
    root: Path,
    memory: Memory,
) -> list[Problem]:
    """The problems alone, in the order of the entries."""
    found = examine(library, targets, base=base, family=family, aliases=aliases, root=root, memory=memory)
    return list(found.problems)


def _split(
    entries: Sequence[Entry], prefix: str, check: Callable[[Entry], Verdict]
) -> tuple[tuple[Entry, ...], tuple[Problem, ...]]:
    named = name_problems([entry.name for entry in entries])
    sound: list[Entry] = []
    problems: list[Problem] = []
    for position, entry in enumerate(entries):
        verdict = check(entry)
        item = prefix + (entry.name or f"entry {position + 1}")
        own = [Problem(item, problem, remedy) for problem, remedy in verdict]
        if position in named:
            own.insert(0, Problem(item, named[position].problem, named[position].remedy))
        problems += own
        if not own:
            sound.append(entry)
    return tuple(sound), tuple(problems)


def _base_shapes(base: BaseModel, aliases: frozenset[str], root: Path, memory: Memory) -> BaseShapes:
    try:
        headers = read_headers(base.path)
    except (CorruptFile, OSError) as error:
        raise InvalidInput(Problem(base.name, f"its weights are corrupt: {error}", "save the model again")) from error
    in_file = {key.removesuffix(".weight"): one.shape for key, one in headers.items() if key.endswith(".weight")}

    def in_memory() -> Mapping[str, tuple[int, ...]]:
        if base.digest not in memory.shapes:
            memory.shapes[base.digest] = module_shapes(base.path)
        return memory.shapes[base.digest]

    return BaseShapes(base, aliases, root, in_file, in_memory)


def _pixel_count(base: BaseModel) -> int | None:
    config = base.config()
    config = config.get("vision_config", config)
    size, channels = config.get("image_size"), config.get("num_channels", 3)
    if isinstance(size, int) and isinstance(channels, int):
        return channels * size * size
    return None


class _EntryCheck:
    """The checks of one entry, with what they all share."""

    def __init__(self, shapes: BaseShapes, family: Family, pixel_count: int | None, memory: Memory) -> None:
        self._shapes = shapes
        self._columns = SAMPLE_COLUMNS[family]
        self._describable = family in DESCRIBABLE
        self._pixel_count = pixel_count
        self._memory = memory
        self._about = [VERSION, shapes.base.digest, sorted(shapes.aliases), list(self._columns), pixel_count]

    def reference(self, entry: Entry) -> Verdict:
        if entry.adapter is None:
            return (("no adapter is given", "give its PEFT directory as `adapter`"), *self.target(entry))
        return self.target(entry)

    def target(self, entry: Entry) -> Verdict:
        adapter: Verdict = () if entry.adapter is None else self._adapter(Path(entry.adapter))
        evaluation: Verdict = () if entry.evaluation is None else self._labelled(entry.evaluation)
        return (*adapter, *self._samples(entry), *evaluation)

    def _adapter(self, directory: Path) -> Verdict:
        if not directory.is_dir():
            return examine_adapter(directory, shapes=self._shapes)
        content = self._memory.digests.tree(directory)
        return self._remembered("adapter", content, lambda: examine_adapter(directory, shapes=self._shapes))

    def _samples(self, entry: Entry) -> Verdict:
        if entry.samples:
            return self._examined("samples", entry.samples, _LEAST_SAMPLES)
        if not self._describable:
            return (("no samples are given", "give a file or folder as `samples`"),)
        if len(lines_of(entry.description)) >= _LEAST_SAMPLES:
            return ()
        return (("no samples are given", f"give `samples`, or at least {_LEAST_SAMPLES} lines of `description`"),)

    def _labelled(self, uri: str) -> Verdict:
        return tuple((f"evaluation: {problem}", remedy) for problem, remedy in self._examined("evaluation", uri, 1))

    def _examined(self, role: str, uri: str, least: int) -> Verdict:
        try:
            content = digest_of(uri, self._memory.digests)
        except OSError as error:
            return ((f"samples cannot be found at {uri} ({type(error).__name__})", "correct the path"),)

        def look() -> Verdict:
            return examine_samples(uri, columns=self._columns, least_rows=least, pixel_count=self._pixel_count)

        return self._remembered(role, content, look)

    def _remembered(self, role: str, content: str, look: Callable[[], Verdict]) -> Verdict:
        key = digest_value([role, content, *self._about])
        known = self._memory.recall(key)
        return self._memory.learn(key, look()) if known is None else known
