# The everyday commands; `just` alone lists them. Everything runs in .venv, which `just setup` makes.

set windows-shell := ["sh", "-cu"]
set positional-arguments

venv := ".venv" / if os_family() == "windows" { "Scripts" } else { "bin" }
python := venv / "python"

[private]
default:
    @just --list --unsorted

# Make .venv and install the project with everything that the tests need
setup:
    {{ if os_family() == "windows" { "py" } else { "python3" } }} -m venv .venv
    {{ python }} -m pip install --quiet --editable '.[dev]'

# The quick tests, on all cores: the loop while you work
test *arguments:
    SENDER_TEST_PROFILE=quick {{ python }} -m pytest -q -n logical "$@"

# All tests at the size that CI runs
test-all *arguments:
    SENDER_TEST_PROFILE=ci {{ python }} -m pytest -q -n logical "$@"

# One file or test, in one process so that --pdb works: just test-one tests/core/test_clock.py::test_it_is_the_time_of_day
test-one target *arguments:
    {{ python }} -m pytest -n 0 "$@"

# Style, types and import walls, as CI checks them
lint:
    {{ venv / "ruff" }} check .
    {{ venv / "ruff" }} format --check .
    {{ venv / "mypy" }}
    {{ venv / "lint-imports" }}

# Repair what ruff can repair by itself
format:
    {{ venv / "ruff" }} check --fix .
    {{ venv / "ruff" }} format .

# Write the generated documents anew and check all of them against the program
docs:
    {{ python }} -m tests.docs.generate
    {{ python }} -m pytest -q -n 0 tests/docs tests/cli/test_readme.py

# Measure: just bench, just bench plan, just bench send --messages 100000
bench *arguments:
    {{ python }} -m pip install --quiet --editable '.[dev,bench]'
    {{ python }} -m benchmarks "$@"

# All tests at full size, a thousand kills, and mutants, for hours: just long, or one part: just long mutants
long *parts:
    bash .ci/long "$@"
