"""The domains benchmark's own arithmetic: siblings, paired tables, and a document that keeps its other sections."""

from pathlib import Path

import numpy as np
import pytest

from tests.benchmarks.domain.document import domains_text
from tests.benchmarks.domain.report import METHODS, best_alone, by_size, by_target, differences, summary, transfer
from tests.benchmarks.domain.tasks import siblings


def unit(target: str, seed: int, values: dict[str, float], without_siblings: bool = False) -> dict:
    scores = {
        method: {"dice": {"value": values.get(method, 0.5), "direction": "higher", "unit": "overlap"}}
        for method in (*METHODS, *[name for name in values if name.startswith("only:")])
    }
    library = [name.removeprefix("only:") for name in values if name.startswith("only:")] or ["near", "far"]
    return {
        "domain": "segmentation",
        "seed": seed,
        "target": target,
        "without_siblings": without_siblings,
        "primary": "dice",
        "library": library,
        "distances": [float(rank) for rank in range(len(library))],
        "weights": {"l1": [1.5, -0.5], "least_squares": [1.0, 0.0]},
        "scores": scores,
    }


def test_siblings_start_with_the_same_word():
    names = ("blood_cytoplasm", "blood_nucleus", "brain_grey")
    assert siblings("blood_nucleus", names) == {"blood_cytoplasm"}
    assert siblings("brain_grey", names) == set()


def test_seeds_are_averaged_before_targets_are_compared():
    units = [unit("a", 0, {"l1": 0.2}), unit("a", 1, {"l1": 0.4}), unit("b", 0, {"l1": 0.9})]
    np.testing.assert_allclose(by_target(units, "dice", "l1"), [0.3, 0.9])


def test_a_difference_is_paired_over_targets():
    units = [unit(str(row), 0, {"l1": row + 0.1, "nearest": row}) for row in range(10)]
    found = differences(units, "dice")["nearest"]
    assert found.value == pytest.approx(0.1)
    assert found.high - found.low < 1e-9  # the targets differ by whole units, the methods always by a tenth


def test_nearness_that_transfers_has_correlation_one():
    nearer_better = unit("a", 0, {"only:x": 0.9, "only:y": 0.5, "only:z": 0.1})
    assert transfer([nearer_better])["spearman"] == 1.0
    assert best_alone([nearer_better])["value"] == 0.9
    assert transfer([unit("a", 0, {})]) is None
    assert best_alone([unit("a", 0, {})]) is None


def test_the_lead_is_told_apart_by_the_size_of_the_weights():
    small, large = unit("a", 0, {"l1": 0.7, "simplex": 0.6}), unit("b", 0, {"l1": 0.2, "simplex": 0.6})
    small["weights"]["l1"] = [0.5, 0.5]  # the other unit's are 1.5 and -.5: two in all
    assert by_size([small, large], (1.1, 3.0)) == [(1, pytest.approx(0.1)), (1, pytest.approx(-0.4)), (0, 0.0)]


def test_a_method_that_some_targets_lack_is_not_averaged():
    with_arrow, without = unit("a", 0, {"arrow": 0.9}), unit("b", 0, {})
    del without["scores"]["arrow"]
    assert "arrow" not in summary([with_arrow, without])["full_library"]["dice"]["means"]
    assert "arrow" in summary([with_arrow])["full_library"]["dice"]["means"]


def test_a_summary_has_both_libraries():
    units = [unit("a", 0, {"l1": 0.7}), unit("b", 0, {"l1": 0.8}), unit("a", 0, {"l1": 0.6}, without_siblings=True)]
    found = summary(units)
    assert found["full_library"]["dice"]["means"]["l1"][0] == pytest.approx(0.75)
    assert found["without_siblings"]["dice"]["targets"] == 1


def test_the_document_keeps_its_other_sections_and_the_prose(tmp_path: Path):
    document = tmp_path / "benchmarks.md"
    document.write_text(
        "# Benchmarks\n\nfirst\n\n## Domains\n\noutdated\n\n### What it says\nplain words\n\n## Next\nnext\n"
    )
    units = [unit("a", 0, {"l1": 0.7}), unit("b", 0, {"l1": 0.8})]
    text = domains_text(document, units, "--json")
    assert text.startswith("# Benchmarks\n\nfirst\n\n## Domains\n")
    assert "outdated" not in text
    assert "### What it says\nplain words" in text
    assert text.endswith("## Next\nnext\n")
    assert "Mean sum of the weights' magnitudes: l1 2.0, least_squares 1.0." in text
    assert "| l1 | 0.750 [" in text
    assert "| base | 0.500 [0.500, 0.500] | **+0.250 [+0.200, +0.300]** |" in text
    document.write_text(text)
    assert domains_text(document, units, "--json") == text
