"""Files are wholly there or not there, whatever happens while they are written."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tasks.files import atomic_directory, atomic_file, write_json


def test_a_file_appears_with_its_whole_content(tmp_path: Path):
    with atomic_file(tmp_path / "deep" / "a.txt") as temporary:
        temporary.write_text("all of it")
        assert not (tmp_path / "deep" / "a.txt").exists()
    assert (tmp_path / "deep" / "a.txt").read_text() == "all of it"


def test_an_error_while_writing_keeps_the_old_file_and_leaves_nothing_behind(tmp_path: Path):
    final = tmp_path / "a.json"
    write_json(final, {"old": 1})

    def fail_half_way() -> None:
        with atomic_file(final) as temporary:
            temporary.write_text("half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_half_way()
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]
    assert "old" in final.read_text()


def test_an_error_while_filling_a_directory_leaves_nothing_behind(tmp_path: Path):
    def fail_half_way() -> None:
        with atomic_directory(tmp_path / "d") as temporary:
            (temporary / "half").write_text("half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_half_way()
    assert list(tmp_path.iterdir()) == []


def test_a_directory_that_is_there_already_is_kept(tmp_path: Path):
    for text in ("first", "second"):
        with atomic_directory(tmp_path / "d") as temporary:
            (temporary / "content").write_text(text)
    assert (tmp_path / "d" / "content").read_text() == "first"
    assert [path.name for path in tmp_path.iterdir()] == ["d"]


_KILLED = """
import os, signal, sys
from pathlib import Path
from tasks.files import atomic_file
with atomic_file(Path(sys.argv[1])) as temporary:
    temporary.write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_kill_while_writing_leaves_the_old_file(tmp_path: Path):
    final = tmp_path / "part.parquet"
    final.write_text("old")
    killed = subprocess.run([sys.executable, "-c", _KILLED, str(final)], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert final.read_text() == "old"
    # What a killed writer leaves is hidden, so that no reader globs it.
    assert [path.name for path in tmp_path.glob("*.parquet")] == ["part.parquet"]
    assert os.listdir(tmp_path) != ["part.parquet"]
