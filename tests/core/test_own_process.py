"""A process of our own: it has its arguments, and begins without looking for garbage in what it loads."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from pathlib import Path

import pytest

from sender.core.garbage import load_module
from sender.core.own_process import own_process

MODULE = """
import gc, sys

while_loading = gc.isenabled()

def main():
    print(while_loading, gc.isenabled(), gc.get_freeze_count() > 0, sys.argv[1:])
"""


@pytest.mark.process
def test_it_calls_main_with_its_arguments_and_was_loaded_without_looking_for_garbage(tmp_path: Path) -> None:
    (tmp_path / "task_of_a_test.py").write_text(MODULE)
    done = subprocess.run(
        own_process("task_of_a_test", "a", "b c"),
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (tmp_path, Path(__file__).parents[2])))},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "False True True ['a', 'b c']\n"


@pytest.mark.process
def test_a_file_of_the_folder_that_it_starts_in_is_no_module(tmp_path: Path) -> None:
    (tmp_path / "task_of_a_test.py").write_text(MODULE)
    command = own_process("task_of_a_test")
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "No module named 'task_of_a_test'" in done.stderr


@pytest.mark.parametrize("collects", [True, False])
def test_a_module_that_fails_leaves_collecting_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, collects: bool
) -> None:
    (tmp_path / "fails_in_a_test.py").write_text("raise RuntimeError('not today')")
    monkeypatch.syspath_prepend(tmp_path)
    if not collects:
        gc.disable()
    try:
        with pytest.raises(RuntimeError, match="not today"):
            load_module("fails_in_a_test")
        assert gc.isenabled() is collects
    finally:
        gc.enable()
    assert "fails_in_a_test" not in sys.modules
