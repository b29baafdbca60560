"""The `tesserae` command. Heavy packages are imported by the command that needs them: `--help` answers at once."""

import contextlib
import importlib
import json
import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from enum import StrEnum
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Annotated, Any

import typer

from flows.blend import DEFAULT_DORA_ENERGY, DEFAULT_THREADS, ElementType, ProfileName
from flows.messages import print_audit, print_problems, print_report, print_training
from flows.settings import Project, load_project
from tasks.files import InvalidInput, Problem

OK, SOME_FAILED, INVALID, COULD_NOT_RUN, INTERRUPTED = 0, 1, 2, 3, 130

app = typer.Typer(
    help="Compose LoRA adapters for tasks that nobody has trained, with certificates and honest evidence.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

ProjectPath = Annotated[Path, typer.Argument(help="Directory with project.yaml, or that file.", show_default=False)]
AsJson = Annotated[bool, typer.Option("--json", help="One machine-readable object on stdout; the rest on stderr.")]


class Domain(StrEnum):
    """Domains of the embedded examples."""

    DIGITS = "digits"
    SEGMENTATION = "segmentation"
    REPORTS = "reports"
    SYNTHESIS = "synthesis"


@contextlib.contextmanager
def _exit_codes(
    as_json: bool, *, kept: str = "finished work is kept, the next run goes on from there"
) -> Iterator[None]:
    """Errors to the exit codes of the contract; no stack trace is shown where the input is at fault."""
    from flows.errors import WorkspaceBusy

    try:
        yield
    except typer.Exit:
        raise
    except InvalidInput as error:
        print_problems(error.problems, as_json=as_json)
        raise typer.Exit(INVALID) from error
    except (WorkspaceBusy, OSError) as error:
        typer.echo(f"could not run: {error}", err=True)
        raise typer.Exit(COULD_NOT_RUN) from error
    except KeyboardInterrupt as error:
        typer.echo(f"interrupted; {kept}", err=True)
        raise typer.Exit(INTERRUPTED) from error
    except Exception as error:
        # Nobody's input: the trace is what a report of it needs.
        traceback.print_exc()
        typer.echo(f"could not run: {type(error).__name__}: {error}", err=True)
        raise typer.Exit(COULD_NOT_RUN) from error


# What logging calls around a fork, before Python 3.13 and since.
_AROUND_A_FORK = frozenset({"_acquireLock", "_releaseLock", "_prepareFork", "_afterFork"})
_SOON_S = 0.01


def _interrupt(signum: int, frame: FrameType | None) -> None:
    """End what runs now; around a fork a moment later.

    Python ignores what is raised there, and logging's lock would stay locked: every later message would wait for it for
    ever. A signal that comes during a fork is heard just there.
    """
    if frame is not None and frame.f_globals.get("__name__") == "logging" and frame.f_code.co_name in _AROUND_A_FORK:
        signal.setitimer(signal.ITIMER_REAL, _SOON_S)
        return
    raise KeyboardInterrupt


def _heed_signals() -> None:
    """End in order on both signals; a shell that starts a command with `&` makes it deaf to the first one otherwise."""
    for one in (signal.SIGINT, signal.SIGTERM, signal.SIGALRM):  # the last is an interrupt that was put off
        signal.signal(one, _interrupt)


@contextlib.contextmanager
def _stdout_for_the_result() -> Iterator[None]:
    """Send what libraries print to stderr, so that stdout holds the result alone."""
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        yield
    finally:
        sys.stdout.flush()
        os.dup2(kept, 1)
        os.close(kept)


def _begin(project: Project, name: str, opened: contextlib.ExitStack, *, looking: bool) -> None:
    """What a flow needs no server for: its modules, the project opened for writing, and the look at it."""
    importlib.import_module(f"flows.{name}")
    from flows.run import opened_ahead
    from flows.stock import look_ahead

    run = opened.enter_context(opened_ahead(project))
    if looking:
        look_ahead(run)
    run.watch.pause()  # from here it waits for the server


def _run_flow(location: Path, name: str, *arguments: Any, looking: bool = True) -> dict[str, Any]:
    """Run the flow `name` of the module of that name on a project, beside a Prefect server; returns its report.

    looking: whether the flow wants to know what the project's library holds.
    """
    from flows.cluster_kinds import prepare_cluster
    from flows.services import prefect_server, quiet_libraries

    _heed_signals()
    project = load_project(location)
    with _stdout_for_the_result(), quiet_libraries(), contextlib.ExitStack() as opened:
        prepare_cluster(project.settings.cluster)  # here, since workers inherit both
        ahead = partial(_begin, project, name, opened, looking=looking)
        with prefect_server(project.workspace, scheduling=False, ahead=ahead):
            run = getattr(sys.modules[f"flows.{name}"], name)
            report: dict[str, Any] = run(str(project.file), *arguments)
            return report


def _finish(report: dict[str, Any], show: Callable[[dict[str, Any]], None], *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps(report))
    else:
        show(report)
    if report["failures"]:
        raise typer.Exit(SOME_FAILED)


@app.command()
def example(
    directory: Annotated[Path, typer.Argument(help="Directory to make; must not exist yet.", show_default=False)],
    domain: Annotated[Domain, typer.Option(help="What the example is about.")] = Domain.DIGITS,
    seed: Annotated[int, typer.Option(help="Two builds with one seed are equal.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Make a complete, runnable project on embedded data."""
    with _exit_codes(as_json, kept="nothing was made"):
        from flows.example import make_example

        _heed_signals()
        with _stdout_for_the_result():
            made = make_example(directory, domain.value, seed=seed)
        typer.echo(json.dumps(made) if as_json else f"{made['project']} is ready: tesserae nightly {directory}")


@app.command()
def check(project: ProjectPath, as_json: AsJson = False) -> None:
    """Validate everything, list all errors at once, compute nothing."""
    with _exit_codes(as_json):
        from flows.check import check_project

        problems = check_project(project)
        if problems:
            raise InvalidInput(*problems)
        typer.echo(json.dumps({"ok": True, "problems": []}) if as_json else "everything is in order")


@app.command()
def train(project: ProjectPath, as_json: AsJson = False) -> None:
    """Fine-tune one LoRA for every reference that has labelled samples and no adapter yet."""
    with _exit_codes(as_json):
        _finish(_run_flow(project, "train", looking=False), print_training, as_json=as_json)


@app.command()
def refresh(project: ProjectPath, as_json: AsJson = False) -> None:
    """Compute the prototypes of new and changed references and targets."""
    with _exit_codes(as_json):
        _finish(_run_flow(project, "refresh"), print_report, as_json=as_json)


@app.command()
def compose(
    project: ProjectPath,
    target: Annotated[list[str] | None, typer.Option(help="Only this target; may be repeated.")] = None,
    as_json: AsJson = False,
) -> None:
    """Project, blend, evaluate and register targets."""
    with _exit_codes(as_json):
        _finish(_run_flow(project, "compose", target or []), print_report, as_json=as_json)


@app.command()
def nightly(project: ProjectPath, as_json: AsJson = False) -> None:
    """Refresh, compose every target, promote and report: the whole job of a night."""
    with _exit_codes(as_json):
        _finish(_run_flow(project, "nightly"), print_report, as_json=as_json)


@app.command()
def audit(project: ProjectPath, as_json: AsJson = False) -> None:
    """Leave the library's own references out, one by one, and tell which rule works here."""
    with _exit_codes(as_json):
        _finish(_run_flow(project, "audit"), print_audit, as_json=as_json)


@app.command()
def explain(
    project: ProjectPath,
    target: Annotated[str, typer.Argument(help="Name of a target.", show_default=False)],
    html: Annotated[Path | None, typer.Option(help="Also write it as a page to this file.")] = None,
    as_json: AsJson = False,
) -> None:
    """Why this composition: the rule and its audited record, weights, neighbours, baselines, scores."""
    with _exit_codes(as_json):
        from flows.explain import explain_target, write_page
        from flows.messages import print_explanation

        with _stdout_for_the_result():
            explanation = explain_target(project, target)
            if html is not None:
                write_page(html, explanation)
        if as_json:
            typer.echo(json.dumps(explanation))
        else:
            print_explanation(explanation)


@app.command()
def blend(
    adapter: Annotated[list[str], typer.Option(help="ADAPTER=WEIGHT; repeat for each. A directory, file or hub id.")],
    out: Annotated[Path, typer.Option(help="Directory to make.")],
    rank: Annotated[int | None, typer.Option(help="Truncate to the best adapter of this rank.")] = None,
    energy: Annotated[float | None, typer.Option(help="Truncate, keeping this share of the squared norm.")] = None,
    profile: Annotated[ProfileName, typer.Option(help="Who is to load it.")] = ProfileName.PORTABLE,
    dtype: Annotated[ElementType, typer.Option(help="Element type of the result.")] = ElementType.FLOAT32,
    base: Annotated[Path | None, typer.Option(help="Base model directory, to convert DoRA or kohya names.")] = None,
    base_model: Annotated[str | None, typer.Option(help="Base model name to write into the result.")] = None,
    revision: Annotated[str | None, typer.Option(help="Base model revision to write into the result.")] = None,
    dora_energy: Annotated[float, typer.Option(help="Kept share when DoRA is converted.")] = DEFAULT_DORA_ENERGY,
    spectra: Annotated[bool, typer.Option(help="Report norms and effective ranks of an exact blend.")] = True,
    threads: Annotated[int, typer.Option(help="Modules at once.")] = DEFAULT_THREADS,
    as_json: AsJson = False,
) -> None:
    """Blend any LoRA adapters into one, exactly and without the base model."""
    with _exit_codes(as_json):
        from flows.blend import blend as run

        with _stdout_for_the_result():
            made = run(
                adapter,
                out,
                rank=rank,
                energy=energy,
                profile=profile,
                dtype=dtype,
                base=base,
                base_model=base_model,
                revision=revision,
                dora_energy=dora_energy,
                spectra=spectra,
                threads=threads,
            )
        text = "{out}: rank {rank}, {modules} modules, lost energy {lost_energy:.2e}, {seconds:.1f} s"
        typer.echo(json.dumps(made) if as_json else text.format(**made))


@app.command()
def doctor(
    directory: Annotated[Path, typer.Argument(help="Adapter directory.", show_default=False)],
    consumers: Annotated[str, typer.Option("--for", help="peft, vllm, sglang, lorax, diffusers, or all.")] = "all",
    as_json: AsJson = False,
) -> None:
    """Tell whether an adapter directory will load there, and what to change if not."""
    with _exit_codes(as_json):
        from flows.doctor import doctor as run
        from flows.messages import print_verdicts

        with _stdout_for_the_result():
            found = run(directory, _consumers(consumers))
        if as_json:
            typer.echo(json.dumps(found))
        else:
            print_verdicts(found["verdicts"])
        if not all(verdict["loads"] for verdict in found["verdicts"].values()):
            raise typer.Exit(SOME_FAILED)


def _consumers(names: str) -> list[Any]:
    from tasks.blending.consumers import Consumer

    if names == "all":
        return []
    known = [consumer.value for consumer in Consumer]
    unknown = [name for name in names.split(",") if name not in known]
    if unknown:
        raise InvalidInput(
            *(Problem(name, "it is no known consumer", f"use {', '.join(known)}, all") for name in unknown)
        )
    return [Consumer(name) for name in names.split(",")]


@app.command()
def schedule(
    project: ProjectPath,
    cron: Annotated[str | None, typer.Option(help="Five-field cron line; the project file's by default.")] = None,
    port: Annotated[int | None, typer.Option(help="Port of the Prefect server that this command starts.")] = None,
) -> None:
    """Serve the nightly flow on a schedule, one run at a time, until interrupted."""
    with _exit_codes(False):
        from flows.schedule import serve_nightly

        _heed_signals()
        serve_nightly(load_project(project), cron=cron, port=port)


@app.command()
def ui(
    project: ProjectPath,
    port: Annotated[int, typer.Option(help="Port on this machine.")] = 5000,
) -> None:
    """Open the MLflow UI on this project's runs and models."""
    with _exit_codes(False):
        from flows.ui import serve_ui

        serve_ui(load_project(project), port=port)


def main() -> None:
    """Entry point of the console script."""
    app()


if __name__ == "__main__":
    main()
