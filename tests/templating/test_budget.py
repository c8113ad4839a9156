"""No template takes more than its share of time and memory: hostile ones fail for their row, soon and small."""

from __future__ import annotations

import ctypes
import sys
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import polars as pl
import pytest

from sender.core.errors import TemplateError
from sender.templating.budget import MAX_CHARS, MAX_UNITS
from sender.templating.render_columns import render
from sender.templating.template import compile_template

ROWS = pl.DataFrame({"a": ["Ann", "Bo"]})
STEPS, LARGE, LONG = f"more than {MAX_UNITS:,} steps", "more than a message can hold", "longer than"


@contextmanager
def memory_watched() -> Iterator[Callable[[], float]]:
    """Yield what returns the most MiB that the block has taken so far.

    On Linux the system counts; tracemalloc would take five times as long as all that is tested here.
    """
    if sys.platform != "linux":
        tracemalloc.start()
        try:
            yield lambda: tracemalloc.get_traced_memory()[1] / 2**20
        finally:
            tracemalloc.stop()
        return
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc's: memory that is free already is not to hide any
    if trim is not None:
        trim(0)
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the peak is what there is now
    before = resident_kib("VmRSS")
    yield lambda: (resident_kib("VmHWM") - before) / 1024


def resident_kib(name: str) -> int:
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{name}:"))


@pytest.mark.parametrize("size", [80, 300])
@pytest.mark.parametrize(
    "make", [lambda mib: b"x" * (mib << 20), lambda mib: ["y" * (950 + n % 50) for n in range(mib << 10)]]
)
def test_memory_is_seen_while_it_is_held_and_afterwards(make: Callable[[int], object], size: int) -> None:
    with memory_watched() as peak_mib:
        held = make(size)
        assert size * 0.95 < peak_mib() < size * 1.3 + 10
        del held
        assert size * 0.95 < peak_mib() < size * 1.3 + 10


def doubled(first: str, again: str, last: str = "{{ x }}", times: int = 60) -> str:
    return first + again * times + last


HOSTILE = [
    ("nested-loops", "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}", STEPS),
    ("filtered-loop", "{% for i in range(99999) %}{% for j in range(99999) if false %}{% endfor %}{% endfor %}", STEPS),
    ("loop-of-text", "{% for i in range(99999) %}{% for j in range(9999) %}abcdefgh{% endfor %}{% endfor %}", LONG),
    ("loop-of-cells", "{% for i in range(99999) %}{{ a }}{{ a }}{% endfor %}", LONG),
    ("recursive-loop", "{% for x in [1, 2] recursive %}{{ loop([1, 2]) }}{% endfor %}", "RecursionError"),
    ("macro-twice-itself", "{% macro m(n) %}{% if n %}{% set x = m(n - 1) ~ m(n - 1) %}{% endif %}{% endmacro %}{{ m(50) }}", STEPS),
    ("tilde", doubled("{% set x = a %}", "{% set x = x ~ x %}"), LARGE),
    ("plus", doubled("{% set x = a %}", "{% set x = x + x %}"), LARGE),
    ("list", doubled("{% set x = [a] %}", "{% set x = [x, x] %}"), LARGE),
    ("tuple-as-key", doubled("{% set x = (a, a) %}", "{% set x = (x, x) %}", "{{ {x: 1} }}"), LARGE),
    ("dict", doubled("{% set x = {1: a} %}", "{% set x = {1: x, 2: x} %}"), LARGE),
    ("compared", doubled("{% set x = [a] %}{% set y = [a] %}", "{% set x = [x, x] %}{% set y = [y, y] %}", "{{ x == y }}"), LARGE),
    ("namespace", doubled("{% set x = namespace(a=a) %}", "{% set x = namespace(a=[x, x]) %}"), LARGE),
    ("namespace-later", "{% set n = namespace(a=a) %}{% set x = [n] * 9000 %}{% set n.a = 'x' * 90000 %}{{ x }}", LARGE),
    ("set-block", doubled("{% set x %}{{ a }}{% endset %}", "{% set x %}{{ x }}{{ x }}{% endset %}"), LARGE),
    ("filter-block", doubled("{% set x = a %}", "{% set x %}{% filter upper %}{{ x }}{{ x }}{% endfilter %}{% endset %}"), LARGE),
    ("times", "{{ a * 10**9 }}", LARGE), ("times-list", "{{ [a * 9000] * 9000 }}", LARGE), ("power", "{{ 9 ** 99999 }}", LARGE),
    ("center", "{{ a | center(10**9) }}", LARGE), ("center-constant", "{{ 'a' | center(1000000000) }}", LARGE),
    ("ljust", "{{ a.ljust(10**9) }}", LARGE), ("zfill", "{{ a.zfill(10**9) }}", LARGE),
    ("expandtabs", "{{ '\t\t'.expandtabs(10**9) }}", LARGE), ("to-bytes", "{{ (1).to_bytes(10**9, 'big') }}", LARGE),
    ("percent", "{{ '%1000000000d' % 1 }}", LARGE), ("percent-star", "{{ '%*d' % (10**9, 1) }}", LARGE),
    ("percent-precision", "{{ '%.1000000000f' % 1.5 }}", LARGE), ("format-filter", "{{ '%1000000000d' | format(1) }}", LARGE),
    ("percent-repeated", "{{ ('%(a)s' * 19000) % {'a': 'x' * 90000} }}", LARGE),
    ("format", "{{ '{:1000000000}'.format(1) }}", LARGE), ("format-nested", "{{ '{:{}}'.format(1, 10**9) }}", LARGE),
    ("format-repeated", "{{ ('{0}' * 30000).format('x' * 90000) }}", LARGE), ("format-widths", "{{ ('{0:99999}' * 9000).format(1) }}", STEPS),
    ("format-map", "{{ '{a:1000000000}'.format_map({'a': 1}) }}", LARGE), ("format-by-attr", "{{ ('{:1000000000}' | attr('format'))(1) }}", LARGE),
    ("replace", "{{ ('a' * 90000) | replace('a', 'b' * 9000) }}", LARGE), ("replace-method", "{{ ('a' * 9000).replace('', 'b' * 9000) }}", LARGE),
    ("join", "{{ range(9000) | join('b' * 90000) }}", LARGE), ("join-method", "{{ ('b' * 9000).join('a' * 9000) }}", LARGE),
    ("indent", "{{ ('\n' * 90000) | indent(90000, blank=true) }}", LARGE), ("wordwrap", "{{ ('a' * 9000) | wordwrap(1, true, 'x' * 9000) }}", LARGE),
    ("urlize", "{{ ('www.a.de ' * 9000) | urlize(rel='x' * 9000) }}", LARGE), ("translate", "{{ 'a'.translate({97: a}) }}", LARGE),
    ("tojson-indent", "{{ ([1] * 9000) | tojson(indent=90000) }}", LARGE), ("tojson-again", doubled("{% set x = '\\\\' %}", "{% set x = x | tojson %}"), LARGE),
    ("tojson-constant", "{{ '\\\\'" + " | tojson" * 60 + " }}", LARGE), ("pprint-again", doubled("{% set x = '\\\\' %}", "{% set x = x | pprint %}"), LARGE),
    ("string-again", doubled("{% set x = '\\\\' %}", "{% set x = [x] | string %}"), LARGE),
    ("batch", "{{ [1] | batch(10**9, 'x') | list }}", LARGE), ("slice", "{{ [1] | slice(10**9) | list }}", LARGE),
    ("round", "{{ 1.5 | round(10**9, 'ceil') }}", LARGE), ("map", "{{ range(9999) | map('center', 90000) | list | length }}", STEPS),
    ("map-to-our-own", "{{ [9] | map('\\x00center', 10**9) | list }}", "there is no filter"),
    ("map-to-begin", "{% for i in range(9) %}{{ [a] | map('\\x00begin') | list }}{% endfor %}", "there is no filter"),
    ("sum", "{{ ([[1] * 9000] * 9000) | sum(start=[]) }}", LARGE), ("sort", "{% for i in range(9999) %}{{ range(9999) | sort | length }}{% endfor %}", STEPS),
    ("reject", "{% for i in range(99999) %}{{ range(9999) | reject | first }}{% endfor %}", STEPS),
    ("cycler", "{% set c = cycler('a' * 9000) %}{% for i in range(99999) %}{{ c.next() }}{% endfor %}", LONG),
    ("fromkeys", "{{ dict.fromkeys(range(99999)) | string }}", LARGE), ("range", "{% for i in range(10**6) %}{% endfor %}", "Range too big"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("source", "says"),
    [pytest.param(source, says, id=name) for name, source, says in HOSTILE],
)
def test_a_hostile_template_is_stopped(source: str, says: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "sender.templating.budget.MAX_CPU_S", 60.0
    )  # where tracemalloc counts, it takes ten times as long
    begun_s = time.thread_time()
    with memory_watched() as peak_mib:
        frame = render(compile_template(source, where="t"), ROWS, {"a": "a"})
        assert peak_mib() < 100
    assert frame["reason"].to_list() == ["render_error"] * 2
    assert all(says in detail for detail in frame["detail"])
    assert time.thread_time() - begun_s < 60


def test_one_text_may_take_its_time_but_not_all() -> None:
    heavy = compile_template(
        "{% for i in range(90000) %}{% for j in range(9999) %}{% endfor %}{% endfor %}{{ a }}", where="t.j2"
    )
    with pytest.raises(TemplateError, match=r"t\.j2: takes too much time") as caught:
        render(heavy, pl.DataFrame({"a": ["x"] * 1_000_000}), {"a": "a"})
    assert caught.value.fix


def test_a_row_that_overruns_stops_no_other() -> None:
    template = compile_template(
        "{% for i in range(n | int) %}{% for j in range(n | int) %}{% endfor %}{% endfor %}ok", where="t"
    )
    frame = render(template, pl.DataFrame({"n": ["3", "9999", "4"]}), {"n": "n"})
    assert frame["text"].to_list() == ["ok", None, "ok"]
    assert "steps" in frame["detail"][1]


def test_the_clock_stops_what_counting_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sender.templating.budget.MAX_CPU_S", 0.05)
    source = "{% set l = range(15000) | list %}{% for i in range(90000) %}{{ '' if -1 in l else '' }}{% endfor %}"
    frame = render(compile_template(source, where="t"), ROWS, {"a": "a"})
    assert "seconds" in frame["detail"][0]


@pytest.mark.parametrize(
    ("source", "text"),
    [
        pytest.param("{% for i in range(9000) %}{% if i % 1000 == 0 %}{{ i }},{% endif %}{% endfor %}", "0,1000,2000,3000,4000,5000,6000,7000,8000,", id="a-long-loop"),
        pytest.param("{{ ('ab' * 40000) | length }}", "80000", id="a-long-value"),
        pytest.param("{{ '%5.1f|%-5s|' % (1.25, a) }}{{ '{:>6}'.format(a) }}", "  1.2|Ann  |   Ann", id="padding"),
        pytest.param("{{ [1, 2, 3] | map('string') | join(', ') | center(20) }}", "      1, 2, 3       ", id="filters"),
        pytest.param("{{ ('{}<' | e).format('<') }}", "&lt;&lt;", id="markup"),
        pytest.param("{{ '{x} {y}'.format_map({'x': a, 'y': 2}) }}", "Ann 2", id="format-map"),
    ],
)  # fmt: skip
def test_what_is_reasonable_is_allowed(source: str, text: str) -> None:
    assert render(compile_template(source, where="t"), ROWS, {"a": "a"}).row(0) == (text, None, None)


def test_a_template_as_long_as_a_book_is_refused() -> None:
    with pytest.raises(TemplateError, match=f"longer than {MAX_CHARS:,}"):
        compile_template("x" * (MAX_CHARS + 1), where="t")


def test_threads_do_not_share_a_budget() -> None:
    template = compile_template("{% for i in range(60000) %}{% if i == 1 %}{{ a }}{% endif %}{% endfor %}", where="t")
    frames: list[pl.DataFrame] = []
    threads = [threading.Thread(target=lambda: frames.append(render(template, ROWS, {"a": "a"}))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [frame["text"].to_list() for frame in frames] == [["Ann", "Bo"]] * 4
