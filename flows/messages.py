"""What the command says to a person: problems, the table of targets, an explanation."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

import typer
from rich.console import Console
from rich.table import Table

from flows.methods import in_order, methods_of
from tasks.files import Problem


def print_problems(problems: Iterable[Problem], *, as_json: bool) -> None:
    """List every problem with its remedy."""
    listed = [{"item": p.item, "problem": p.problem, "remedy": p.remedy} for p in problems]
    if as_json:
        typer.echo(json.dumps({"ok": False, "problems": listed}))
        return
    typer.echo(f"{len(listed)} problem{'s' if len(listed) != 1 else ''}:", err=True)
    for one in listed:
        typer.echo(f"  {one['item']}: {one['problem']}\n      -> {one['remedy']}", err=True)


def _first_metric(scores: Mapping[str, Mapping[str, float]], method: str) -> str:
    values = list(scores.get(method, {}).values())
    return f"{values[0]:.3f}" if values else ""


def _mean(targets: list[Mapping[str, Any]], method: str) -> str:
    values = [next(iter(t["scores"][method].values())) for t in targets if t["scores"].get(method)]
    return f"{sum(values) / len(values):.3f}" if values else ""


def targets_table(targets: list[Mapping[str, Any]]) -> Table:
    """One line per target: support, coverage, every method's score, and the registered version."""
    methods = methods_of(targets)
    table = Table(title="Targets", title_justify="left")
    table.add_column("target")
    table.add_column("rule")
    for name in ("expected gain", "support", "coverage", *methods):
        table.add_column(name.replace("_", " "), justify="right")
    table.add_column("version")
    for one in targets:
        version = f"{one['version'] or ''} {' '.join(one['aliases'])}".strip()
        scores = [_first_metric(one["scores"], method) for method in methods]
        expected = f"{one['expected']['gain']:+.3f}" if one["expected"] else ""
        support, coverage = str(len(one["support"])), f"{one['coverage']:.2f}"
        table.add_row(one["target"], one["rule"], expected, support, coverage, *scores, version)
    if len(targets) > 1:
        table.add_section()
        table.add_row("mean", "", "", "", "", *[_mean(targets, method) for method in methods], "")
    return table


def _console() -> Console:
    console = Console()
    # A table that is cut off is of no use in a log: outside a terminal it takes the width it needs.
    return console if console.is_terminal else Console(width=200)


def print_report(report: Mapping[str, Any]) -> None:
    """The result of a run, for a terminal."""
    console = _console()
    if report["targets"]:
        console.print(targets_table(report["targets"]))
    console.print(
        f"{report['prototypes_computed']} prototypes computed, {report['compositions_solved']} compositions solved, "
        f"{report['versions_registered']} versions registered in {report['seconds']:.1f} s"
    )
    for one in report["missing"]:
        told = f"would help: an adapter for a task like {one['like']} (for {', '.join(one['serves'])})"
        console.print(told, highlight=False, markup=False)
    _print_failures(console, report["failures"])


def _print_failures(console: Console, failures: Iterable[Mapping[str, str]]) -> None:
    for failure in failures:
        console.print(
            f"failed: {failure['item']} ({failure['stage']}): {failure['error']}\n    -> {failure['remedy']}",
            highlight=False,
            markup=False,
        )


def print_training(report: Mapping[str, Any]) -> None:
    """The result of a training, for a terminal."""
    console = _console()
    console.print(f"{report['adapters_trained']} adapters trained in {report['seconds']:.1f} s")
    _print_failures(console, report["failures"])


def _print_choice(console: Console, explanation: Mapping[str, Any]) -> None:
    """The rule, what the audit said of it, and what became of the version."""
    choice = explanation["choice"]
    if choice is None:
        console.print(f"Rule: {explanation['rule']}, from the project file; no audit has tested it here.")
    else:
        console.print(f"Rule: the audit trusts {choice['rule']}: {choice['reason']}.", highlight=False)
        alike = ", ".join(f"{one['trial']} {one['gain']:+.3f}" for one in choice["similar"])
        console.print(f"Audited tasks most like it, with its gain there: {alike}", highlight=False)
    if explanation["promotion"]:
        state = " ".join(explanation["aliases"]) or "no alias"
        console.print(f"Version {explanation['version']} ({state}): {explanation['promotion']}", highlight=False)


def print_explanation(explanation: Mapping[str, Any]) -> None:
    """One target's composition, in words and tables."""
    console = _console()
    console.print(
        f"[bold]{explanation['target']}[/bold] is written as a combination of {len(explanation['support'])} of its "
        f"{len(explanation['neighbourhood'])} neighbours."
    )
    if explanation["beyond"]:
        far = ", ".join(explanation["beyond"])
        console.print(f"Farther than the retrieved neighbours, found by pricing the whole library: {far}")
    console.print(
        f"The library explains {explanation['coverage']:.0%} of its distance to the library's mean (coverage). "
        f"No better solution gains more than {explanation['duality_gap']:.1e} of the scale (duality gap)."
    )
    _print_choice(console, explanation)
    methods = list(explanation["baselines"])
    table = Table(title="Weights", title_justify="left")
    for name in ("reference", "distance", "weight", *methods):
        table.add_column(name.replace("_", " "), justify="left" if name == "reference" else "right")
    for near in explanation["neighbourhood"]:
        others = [f"{explanation['baselines'][method].get(near['reference'], 0.0):+.3f}" for method in methods]
        table.add_row(near["reference"], f"{near['distance']:.3f}", f"{near['weight']:+.3f}", *others)
    console.print(table)
    if explanation["scores"]:
        scores = Table()
        scores.add_column("method")
        scores.add_column("score", justify="right")
        for method in in_order(explanation["scores"]):
            scores.add_row(method.replace("_", " "), _first_metric(explanation["scores"], method))
        console.print(scores)
    console.print(f"adapter: {explanation['adapter']}", highlight=False)


def print_verdicts(verdicts: Mapping[str, Any]) -> None:
    """Who loads an adapter, and every broken rule with its remedy."""
    console = _console()
    for consumer, verdict in verdicts.items():
        how = "verified by loading" if verdict["verified"] == "loading" else "by its rules"
        console.print(f"{consumer}: {'loads' if verdict['loads'] else 'does not load'} ({how})", highlight=False)
        for broken in verdict["broken"]:
            console.print(f"  {broken['rule']}: {broken['found']}\n      -> {broken['remedy']}", markup=False)


def print_audit(report: Mapping[str, Any]) -> None:
    """What the audit found: each rule's mean gain over the base model, and what that says about the library."""
    console = _console()
    table = Table(title="Mean gain over the base model", title_justify="left")
    table.add_column("rule")
    for name in ("references left out", "pools of two", "trials"):
        table.add_column(name, justify="right")
    for row in report["rules"]:
        gains = ["" if row[key] is None else f"{row[key]:+.4f}" for key in ("left_out", "pools")]
        table.add_row(row["rule"], *gains, str(row["trials"]))
    console.print(table)
    console.print(report["verdict"]["says"], highlight=False)
    for name, one in report["correlations"].items():
        if one["value"] is not None:
            console.print(f"rank correlation of {name}: {one['value']:+.2f} ({one['low']:+.2f} to {one['high']:+.2f})")
    console.print(f"{report['scored']} blends scored, {report['known']} known, in {report['seconds']:.1f} s")
    _print_failures(console, report["failures"])
