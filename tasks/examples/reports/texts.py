"""Findings and impressions from a small grammar, written in the house styles of departments.

A style changes how a department writes, in what it is given (the findings) and in what it answers (the impression).
The texts are invented; they only look like reports.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from itertools import combinations

import numpy as np

_SIDES = ("left", "right")
_SITES = ("upper lobe", "lower lobe", "kidney", "adrenal gland", "ovary", "breast")
_LESIONS = ("nodule", "cyst", "mass", "calcification", "lesion")
_SIZES = (4, 6, 8, 12, 15, 22, 31)  # millimetres
_CHANGES = ("unchanged", "larger than before", "smaller than before", "new")
_NORMAL = ("the heart is normal in size", "no pleural effusion is seen", "the bones are intact", "the liver is normal")

CUE = "\nimpression:"  # where the findings end and the impression begins

Style = Callable[[str], str]


@dataclass(frozen=True, slots=True)
class Report:
    """What the model reads and what it should write."""

    findings: str
    impression: str


def draw_report(generator: np.random.Generator) -> Report:
    """A plain report: one lesion with site, size and change, among normal findings."""
    side, site = generator.choice(_SIDES), generator.choice(_SITES)
    lesion, change = generator.choice(_LESIONS), generator.choice(_CHANGES)
    size = int(generator.choice(_SIZES))
    normal = [str(text) for text in generator.choice(_NORMAL, size=2, replace=False)]
    sentences = [f"there is a {size} mm {lesion} in the {side} {site}", f"it is {change}", *normal]
    return Report(". ".join(sentences) + ".", f"{side} {site} {lesion}, {size} mm, {change}.")


def capitals(text: str) -> str:
    """THE WHOLE TEXT."""
    return text.upper()


def numbered(text: str) -> str:
    """Sentences as a numbered list: 1) so. 2) so."""
    sentences = [sentence.strip() for sentence in re.split(r"\.(?=\s|$)", text) if sentence.strip()]
    return " ".join(f"{number}) {sentence}." for number, sentence in enumerate(sentences, start=1))


def shortened(text: str) -> str:
    """Abbreviations: L and R, UL and LL, w/o, nl."""
    for long, short in _SHORT.items():
        text = re.sub(rf"\b{long}\b", short, text, flags=re.IGNORECASE)
    return text


def centimetres(text: str) -> str:
    """Sizes in centimetres: 8 mm is 0.8 cm."""
    return re.sub(r"(\d+) mm\b", lambda found: f"{int(found[1]) / 10:.1f} cm", text, flags=re.IGNORECASE)


def tagged(text: str) -> str:
    """Every sentence opens with a dash, as on a slide."""
    return "- " + re.sub(r"\.\s+", ".\n- ", text)


_SHORT = {
    "left": "L",
    "right": "R",
    "upper lobe": "UL",
    "lower lobe": "LL",
    "normal": "nl",
    "unchanged": "stable",
    "there is a": "+",
    "than before": "vs prior",
}

STYLES: dict[str, Style] = {
    "shortened": shortened,
    "centimetres": centimetres,
    "numbered": numbered,
    "tagged": tagged,
    "capitals": capitals,
}
PLAIN = "plain"


def styles_of(name: str) -> tuple[Style, ...]:
    """The styles of a department by its name: `plain`, one style, or two joined by `_and_`."""
    return () if name == PLAIN else tuple(STYLES[part] for part in name.split("_and_"))


def written(report: Report, name: str) -> Report:
    """The report as the department `name` writes it; styles apply in the order in which `STYLES` has them."""
    findings, impression = report.findings, report.impression
    for style in styles_of(name):
        findings, impression = style(findings), style(impression)
    return Report(f"findings: {findings}{CUE}", f" {impression}")


REFERENCES = (PLAIN, *STYLES)
# A numbered list has no dashes: those two cannot be had at once.
TARGETS = tuple(f"{a}_and_{b}" for a, b in combinations(STYLES, 2) if {a, b} != {"numbered", "tagged"})
