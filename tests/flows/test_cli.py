"""The command line's manners."""

import subprocess
import sys

import pytest

from tests.conftest import tesserae

PROJECT_COMMANDS = ["audit", "example", "check", "train", "refresh", "compose", "nightly", "explain", "schedule", "ui"]
COMMANDS = [*PROJECT_COMMANDS, "blend", "doctor"]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command: str):
    told = tesserae(command, "--help")
    assert told.code == 0
    assert "Usage" in told.out


def test_help_answers_without_loading_a_model_library():
    code = "import sys, flows.cli; print([n for n in ('torch', 'mlflow', 'prefect', 'cvxpy') if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_an_unknown_option_is_a_wrong_call():
    assert tesserae("nightly", "--no-such-option").code == 2


def test_an_example_is_not_written_over_something_else(tmp_path):
    (tmp_path / "mine").write_text("mine")
    refused = tesserae("example", tmp_path)
    assert refused.code == 2
    assert "not empty" in refused.err
