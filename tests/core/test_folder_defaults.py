"""`sender.toml`: a file that is huge, deep, or no file at all costs no time and is refused with a sentence."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from sender.core.errors import InputError
from sender.core.folder_defaults import MAX_BYTES, read_folder_defaults


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        pytest.param("suppress = " + "[" * 5_000 + "]" * 5_000, "nested too deep", id="arrays"),
        pytest.param("suppress = " + "{a=" * 5_000 + "1" + "}" * 5_000, "nested too deep", id="tables"),
        pytest.param("x" + ".x" * 20_000 + " = 1", "line 1: more than 500 dots in a line", id="dotted-key"),
        pytest.param("\n[x" + ".x" * 20_000 + "]", "line 2: more than 500 dots in a line", id="dotted-table"),
        pytest.param("#" + "x" * MAX_BYTES, "is larger than 64 KB", id="large"),
    ],
)
def test_a_huge_or_deep_file_is_refused_at_once(tmp_path: Path, text: str, sentence: str) -> None:
    (tmp_path / "sender.toml").write_text(text, encoding="utf-8")
    began = time.process_time()
    with pytest.raises(InputError, match=sentence):
        read_folder_defaults(tmp_path)
    assert time.process_time() - began < 1


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="has no pipes")
@pytest.mark.parametrize("what", ["pipe", "device", "folder"])
def test_what_is_not_a_file_is_not_read(tmp_path: Path, what: str) -> None:
    file = tmp_path / "sender.toml"
    if what == "pipe":
        os.mkfifo(file)
    elif what == "device":
        file.symlink_to("/dev/zero")
    else:
        file.mkdir()
    with pytest.raises(InputError, match=r"sender\.toml: is not a file"):
        read_folder_defaults(tmp_path)


def test_a_large_pool_of_numbers_is_no_abuse(tmp_path: Path) -> None:
    numbers = [f'"+1202555{n:04}"' for n in range(100, 200)] * 30
    (tmp_path / "sender.toml").write_text(f"from = [{', '.join(numbers)}]\n", encoding="utf-8")
    defaults = read_folder_defaults(tmp_path)
    assert defaults is not None
    assert len(defaults.keys["from"]) == 3_000


def test_a_link_to_a_file_is_followed_and_none_is_none(tmp_path: Path) -> None:
    assert read_folder_defaults(tmp_path) is None
    assert read_folder_defaults(tmp_path / "missing") is None
    (tmp_path / "common.toml").write_text('rate = "4/s"\n', encoding="utf-8")
    (tmp_path / "sender.toml").symlink_to(tmp_path / "common.toml")
    defaults = read_folder_defaults(tmp_path)
    assert defaults is not None
    assert defaults.keys == {"rate": "4/s"}
