"""What a contributor is shown exists: the recipes, the hooks, the workflow's checks, the templates' links."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
import yaml

from tests.wording import ROOT, findings

CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
CHECKS = ("ruff check", "ruff format", "mypy", "lint-imports")


def read_yaml(name: str) -> Any:
    return yaml.safe_load((ROOT / name).read_text(encoding="utf-8"))


def recipes() -> set[str]:
    justfile = (ROOT / "justfile").read_text(encoding="utf-8")
    return set(re.findall(r"^([a-z-]+)(?: [a-z*]+)*:$", justfile, re.MULTILINE)) - {"default"}


def test_contributing_names_every_recipe() -> None:
    named = set(re.findall(r"`just ([a-z-]+)", CONTRIBUTING))
    assert named == recipes()
    assert {"test", "test-all", "test-one", "lint", "docs", "bench", "long"} <= named


def test_every_check_is_run_by_ci_the_workflow_the_hooks_and_just() -> None:
    files = (".ci/run", ".github/workflows/ci.yml", ".pre-commit-config.yaml", "justfile")
    texts = {name: (ROOT / name).read_text(encoding="utf-8") for name in files}
    texts["justfile"] = texts["justfile"].replace('{{ venv / "ruff" }}', "ruff")
    missing = [(name, check) for name, text in texts.items() for check in CHECKS if check not in text]
    assert missing == []


def test_the_workflow_covers_the_systems_and_pythons() -> None:
    jobs = read_yaml(".github/workflows/ci.yml")["jobs"]
    matrix = jobs["test"]["strategy"]["matrix"]
    assert {name.split("-")[0] for name in matrix["os"]} == {"ubuntu", "macos", "windows"}
    assert matrix["python"] == ["3.11", "3.12", "3.13", "3.14"]
    assert all("timeout-minutes" in job for job in jobs.values())


def test_the_hooks_need_nothing_but_the_environment_of_the_project() -> None:
    config = read_yaml(".pre-commit-config.yaml")
    assert [(repo["repo"], {hook["language"] for hook in repo["hooks"]}) for repo in config["repos"]] == [
        ("local", {"system"})
    ]


def test_the_bug_report_offers_every_provider() -> None:
    schema = json.loads((ROOT / "docs" / "campaign.schema.json").read_text(encoding="utf-8"))
    form = read_yaml(".github/ISSUE_TEMPLATE/bug_report.yml")
    offered = next(field["attributes"]["options"] for field in form["body"] if field.get("id") == "provider")
    assert set(offered) >= set(schema["properties"]["provider"]["enum"])


@pytest.mark.parametrize("page", ["CONTRIBUTING.md", "SECURITY.md"])
def test_links_lead_somewhere(page: str) -> None:
    for target in re.findall(r"\]\((?!http)([^)#]+)", (ROOT / page).read_text(encoding="utf-8")):
        assert (ROOT / target).exists(), target


@pytest.mark.parametrize("page", ["CONTRIBUTING.md", "SECURITY.md"])
def test_these_pages_follow_their_own_rule(page: str) -> None:
    assert [str(finding) for finding in findings(ROOT / page)] == []


@pytest.mark.parametrize("page", ["CONTRIBUTING.md", "justfile"])
def test_the_tests_that_it_names_exist(page: str) -> None:
    named = re.findall(r"(tests/[\w/]+\.py)(?:::(\w+))?", (ROOT / page).read_text(encoding="utf-8"))
    assert named
    for path, function in named:
        assert not function or f"def {function}(" in (ROOT / path).read_text(encoding="utf-8"), path
        assert (ROOT / path).is_file(), path
