"""Modules that servers expect beside those an adapter has: filled with zeros where their shapes are known.

LoRAX and TGI skip a whole layer type when one layer of it is missing; SGLang's older loader wants q, k, v together and
gate, up together. Shapes come from the same module in another layer, from a sibling of necessarily equal shape, or from
the base model's own header.
"""

import re
from collections.abc import Mapping

from tasks.blending.factors import Layout

# Key and value projections have equal shapes in every grouped-query layout, gate and up in every gated one; a query's
# width is its own.
_TWINS = {"k_proj": "v_proj", "v_proj": "k_proj", "gate_proj": "up_proj", "up_proj": "gate_proj"}
_FAMILIES = (("q_proj", "k_proj", "v_proj"), ("gate_proj", "up_proj"))
_LAYER = re.compile(r"^(?P<stem>\D*\.)?(?P<index>\d+)(?P<rest>\.\D+)$")


def completed(
    layouts: Mapping[str, Layout], base_shapes: Mapping[str, tuple[int, int]]
) -> tuple[dict[str, Layout], tuple[str, ...]]:
    """The layouts with every missing module that servers expect, and the names whose shape could not be known.

    `base_shapes` maps the base model's modules to (out, in); it may be empty.
    """
    wanted = _missing_families({**layouts, **dict.fromkeys(_missing_layers(layouts))})
    result, unknown = dict(layouts), []
    for name in sorted((wanted | set(_missing_layers(layouts))) - set(layouts)):
        layout = _known_layout(name, layouts, base_shapes)
        if layout is None:
            unknown.append(name)
        else:
            result[name] = layout
    return dict(sorted(result.items())), tuple(unknown)


def _split(name: str) -> tuple[str, str] | None:
    # Exactly one numeric part: with two (experts, U-Net blocks) the layers are not copies of each other.
    match = _LAYER.match(name)
    return None if match is None else (match["stem"] or "", match["rest"])


def _missing_layers(layouts: Mapping[str, Layout]) -> dict[str, None]:
    indices: dict[str, set[str]] = {}
    kinds: dict[str, set[str]] = {}
    for name in layouts:
        if (parts := _split(name)) is not None:
            stem, rest = parts
            indices.setdefault(stem, set()).add(name[len(stem) : len(name) - len(rest)])
            kinds.setdefault(stem, set()).add(rest)
    names = (f"{stem}{index}{rest}" for stem in indices for index in indices[stem] for rest in kinds[stem])
    return dict.fromkeys(name for name in names if name not in layouts)


def _missing_families(names: Mapping[str, object]) -> set[str]:
    missing = set()
    for name in names:
        parent, _, last = name.rpartition(".")
        for family in _FAMILIES:
            if last in family and parent:
                missing |= {f"{parent}.{member}" for member in family} - set(names)
    return missing


def _known_layout(
    name: str, layouts: Mapping[str, Layout], base_shapes: Mapping[str, tuple[int, int]]
) -> Layout | None:
    if name in base_shapes:
        out, columns = base_shapes[name]
        return Layout(a_tail=(columns,), out=out, b_tail=(), embedding=False)
    parent, _, last = name.rpartition(".")
    for candidate in (name, f"{parent}.{_TWINS.get(last, last)}"):
        found = {layout for other, layout in layouts.items() if _same_kind(candidate, other)}
        if len(found) == 1:
            return found.pop()
    return None


def _same_kind(name: str, other: str) -> bool:
    if name == other:
        return True
    parts = _split(name)
    return parts is not None and parts == _split(other)
