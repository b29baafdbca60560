"""One target's explanation as a page: plain words first, every number in a <data> element, no script, no other file."""

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from tasks.registry.page_charts import interval_bars, number, path_chart, weight_bars

MODULES_SHOWN = 12
RULES_SHOWN = 8

_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;color:#1c2733;max-width:60rem;margin:2rem auto;padding:0 1rem}
h1{font-size:1.5rem;margin-bottom:.2rem}h2{font-size:1.1rem;margin:2rem 0 .4rem}p{margin:.4rem 0}
table{border-collapse:collapse;margin:.6rem 0}td,th{padding:.15rem .7rem .15rem 0;text-align:right;font-weight:400}
th{color:#5b6b7c;border-bottom:1px solid #d5dbe1;vertical-align:bottom}td:first-child,th:first-child{text-align:left}
.verdict{border-left:5px solid #1b7837;background:#f1f7f2;padding:.6rem 1rem}
.held{border-color:#b26b18;background:#fdf6ec}
.soft{color:#5b6b7c}code{background:#f2f4f6;padding:.5rem;display:block;white-space:pre-wrap;word-break:break-all}
svg{display:block;margin:.5rem 0}
"""


def explanation_page(explanation: Mapping[str, Any]) -> str:
    """The page of an explanation as `tesserae explain --json` gives it; a string of HTML."""
    parts = [_head(explanation), _made_of(explanation), _explained(explanation), _rule(explanation)]
    parts += [_scores(explanation), _path(explanation), _modules(explanation), _rebuild(explanation)]
    title = escape(explanation["target"])
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f"<style>{_STYLE}</style></head><body>{''.join(parts)}</body></html>\n"
    )


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    head = "".join(f"<th>{one}</th>" for one in heads)
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><tr>{head}</tr>{body}</table>"


def _head(e: Mapping[str, Any]) -> str:
    champion = "champion" in e["aliases"]
    state = "It is served: this version is the champion." if champion else "It is not served: the base model is."
    if "challenger" in e["aliases"]:
        state = "It waits as challenger: it is not served."
    reason = escape(e["promotion"] or "nothing is registered yet")
    return (
        f"<h1>{escape(e['target'])}</h1>"
        f'<p class="soft">An adapter for a task that nobody has trained, made of adapters that exist already.</p>'
        f'<div class="verdict{"" if champion else " held"}"><b>{state}</b><br>{reason}</div>'
    )


def _made_of(e: Mapping[str, Any]) -> str:
    count, among = len(e["support"]), len(e["neighbourhood"])
    intro = (
        f"<p>{count} of the {among} most similar tasks of the library take part. The weight says how much of a task's "
        "adapter goes in; a negative weight takes it away. The distance says how unlike the samples of that task are. "
        "The last columns show the weights that each half of this task's samples alone would give: where they "
        "differ much, there are too few samples.</p>"
    )
    if e["beyond"]:
        far = escape(", ".join(e["beyond"]))
        intro += f"<p>Less similar than the nearest, and found by trying the whole library: {far}.</p>"
    halves = e["halves"]
    heads = ["task", "weight", "distance", *(f"half {name}" for name in "ab"[: len(halves)])]
    rows = [
        [
            escape(near["reference"]),
            number(near["weight"], "+.3f"),
            number(near["distance"], ".3f"),
            *(number(half.get(near["reference"], 0.0), "+.3f") for half in halves),
        ]
        for near in e["neighbourhood"]
        if near["weight"] != 0
    ]
    return f"<h2>What it is made of</h2>{intro}{weight_bars(e['support'])}{_table(heads, rows)}"


def _explained(e: Mapping[str, Any]) -> str:
    return (
        "<h2>How well the library explains this task</h2>"
        f"<p>The combination covers {number(e['coverage'], '.0%')} of the way from the library's average task to this "
        f"one (coverage). What is left over has length {number(e['residual'], '.3f')}, in the units of the distances "
        "above. A low coverage means that the library has nothing like this task. A high one is no promise: tasks with "
        "the same inputs and other answers look alike.</p>"
        f"<p>The weights are the best there are for their rule: no others are better by more than "
        f"{number(e['duality_gap'], '.1e')} of the problem's size, which was checked apart from the solver.</p>"
    )


def _rule(e: Mapping[str, Any]) -> str:
    choice = e["choice"]
    title = "<h2>Which rule gave the weights, and why</h2>"
    if choice is None:
        return (
            f"{title}<p>The rule <b>{escape(e['rule'])}</b> is the project file's. No audit has tested the rules on "
            "this library yet: <b>tesserae audit</b> does.</p>"
        )
    ranked = sorted(choice["rules"].items(), key=lambda item: (_down(item[1]["low"]), -item[1]["gain"], item[0]))
    rows = [
        [escape(name), number(one["gain"], "+.4f"), number(one["low"], "+.4f"), number(one["near"], ".1f")]
        for name, one in ranked[:RULES_SHOWN]
    ]
    similar = [[escape(one["trial"]), number(one["gain"], "+.4f")] for one in choice["similar"]]
    composed = "" if choice["rule"] == e["rule"] else f" What is shown here was composed by <b>{escape(e['rule'])}</b>."
    return (
        f"{title}<p>The audit left out tasks of the library whose answers are known, composed each from the others by "
        f"every rule, and scored them. For this task it trusts <b>{escape(choice['rule'])}</b>: "
        f"{escape(choice['reason'])}.{composed}</p>"
        + _table(["rule", "expected gain", "on average surely above", "audited tasks like it"], rows)
        + "<p>Audited tasks most like this one, and what the rule gained there over the base model:</p>"
        + _table(["task", "gain"], similar)
    )


def _down(value: float | None) -> float:
    return float("inf") if value is None else -value


def _scores(e: Mapping[str, Any]) -> str:
    title = "<h2>How it does on labelled samples</h2>"
    if not e["intervals"]:
        return f"{title}<p>This task has none, so nothing was measured on it.</p>"
    parts = [
        f"{title}<p><b>chosen</b> is this adapter. The base model has no adapter; the ceiling is one trained on this "
        "task, where there is one; random and permuted are controls that a sound method must beat. The lines "
        "are intervals over samples.</p>"
    ]
    for metric, own in e["intervals"]["chosen"].items():
        scores = {method: by[metric] for method, by in e["intervals"].items() if metric in by}
        n = number(own["n"], "d")
        parts.append(
            f"<p>{escape(metric)} ({escape(own['direction'])} is better), {n} samples</p>{interval_bars(scores)}"
        )
    return "".join(parts)


def _path(e: Mapping[str, Any]) -> str:
    if not e["path"]:
        return ""
    return (
        "<h2>What the penalty does</h2><p>Each line is a task of the library. To the left the penalty is weak and the "
        "weights fit this task as closely as they can; to the right it takes negative weights away. The dashed line is "
        f"the penalty in use, {number(e['relative_penalty'], 'g')} of the library's spread.</p>"
        + path_chart(e["path"], chosen=e["relative_penalty"])
    )


def _modules(e: Mapping[str, Any]) -> str:
    if not e["modules"]:
        return ""
    shown = e["modules"][:MODULES_SHOWN]
    names = list(e["support"])[:6]
    rows = [
        [escape(one["module"]), number(one["norm"], ".3f"), *(number(one["shares"].get(n, 0.0), ".0%") for n in names)]
        for one in shown
    ]
    return (
        f"<h2>Where it acts</h2><p>The {len(shown)} layers of {len(e['modules'])} that it changes most, by the size of "
        "the change, and whose adapters these changes come from.</p>"
        + _table(["layer", "size", *map(escape, names)], rows)
    )


def _rebuild(e: Mapping[str, Any]) -> str:
    return (
        f"<h2>How to make it again</h2><code>{escape(e['rebuild'])}</code>"
        f'<p class="soft">Recipe {escape(e["digest"])}</p>'
    )
