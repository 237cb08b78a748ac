"""The pages of docs/ say what the code says: generated parts, metrics, settings, commands, links."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import get_args

import pytest
from typer.main import get_command

from contracts.records import DeadReason
from scripts.diagrams import __main__ as diagrams
from services.cli.commands import app
from services.runtime.metrics import Metrics
from services.runtime.settings import Settings

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = [*sorted(DOCS.rglob("*.md")), ROOT / "README.md", ROOT / "README.zh-CN.md"]
OPERATIONS = (DOCS / "operations.md").read_text("utf-8")


def exported() -> set[str]:
    """The names of our metrics as Prometheus stores them, without a histogram's parts."""
    families = [each for each in Metrics().registry.collect() if each.name.startswith("livecard")]
    return {f"{each.name}_total" if each.type == "counter" else each.name for each in families}


@pytest.mark.parametrize("name", ["metrics.md", "zh-CN/metrics.md"])
def test_the_page_of_the_metrics_explains_every_one(name):
    text = (DOCS / name).read_text("utf-8")
    assert set(re.findall(r"^\| `(livecard_[a-z_]+)` ", text, re.MULTILINE)) == exported()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_metric_that_a_page_names_exists(page):
    named = set(re.findall(r"\blivecard_[a-z_]+", page.read_text("utf-8")))
    parts = {f"{name}_{part}" for name in exported() for part in ("bucket", "sum", "count")}
    assert named - parts <= exported()


def test_the_page_for_people_on_call_explains_every_reason_of_a_dead_letter():
    section = OPERATIONS.partition("## Dead letters")[2].partition("## ")[0]
    assert set(re.findall(r"^\| `([a-z_]+)` ", section, re.MULTILINE)) == set(get_args(DeadReason))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_settings_and_commands_named_in_a_page_exist(page):
    text = page.read_text("utf-8")
    known = {f"LIVECARD_{name.upper()}" for name in Settings.__struct_fields__}
    named = set(re.findall(r"LIVECARD_[A-Z_]+", text))
    families = {name for name in named if name.endswith("_") and any(each.startswith(name) for each in known)}
    own = {"LIVECARD_REQUIRE_ENGINES", "LIVECARD_TEST_KAFKA", "LIVECARD_TEST_POSTGRES"}
    assert named - families <= known | own
    commands = getattr(get_command(app), "commands")  # noqa: B009 (typer's group is not typed so)
    assert set(re.findall(r"`(?:\.venv/bin/)?livecard ([a-z]+)", text)) <= set(commands)


@pytest.mark.parametrize(
    ("page", "bound"),
    [
        ("README.md", "up to {} calls per dispatcher and {} members per call"),
        ("README.zh-CN.md", "每个 dispatcher 至多 {} 次调用、每次调用至多 {} 名成员"),
    ],
)
def test_the_bound_on_repeated_posts_is_that_of_the_settings(page, bound):
    """What a fault can repeat: the calls in flight, times the members in each."""
    settings = Settings()
    assert bound.format(settings.in_flight, settings.members_per_call) in (ROOT / page).read_text("utf-8")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_between_pages_leads_somewhere(page):
    text = page.read_text("utf-8")
    links = [link for link in re.findall(r"\]\(([^)#]+)", text) if "://" not in link]
    assert [link for link in links if not (page.parent / link).exists()] == []


WALK = re.findall(
    r"^\| \d+ \| `([^`]+)` \| `([^`]+)` \|", (DOCS / "architecture.md").read_text("utf-8"), re.MULTILINE
)


@pytest.mark.parametrize(("file", "function"), WALK)
def test_every_hop_of_a_completion_is_a_function_of_that_file(file, function):
    owner, _, name = function.rpartition(".")
    source = (ROOT / file).read_text("utf-8")
    assert re.search(rf"def {name}\(", source), f"no {function}"
    assert not owner or f"class {owner}" in source


def test_the_walk_of_a_completion_leaves_no_hop_out():
    text = (DOCS / "architecture.md").read_text("utf-8")
    hops = [int(hop) for hop in re.findall(r"^\| (\d+) \|", text, re.MULTILINE)]
    assert hops == list(range(1, len(WALK) + 1))
    assert len(hops) > 20


def test_the_generated_parts_are_what_the_code_says(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["diagrams", "--check"])
    assert diagrams.main() == 0


def test_the_pictures_are_the_same_each_time():
    assert diagrams.files() == diagrams.files()


def test_a_drift_is_told_and_nothing_is_written(monkeypatch, tmp_path, capsys):
    page, image = tmp_path / "page.md", tmp_path / "line.svg"
    page.write_text("old")
    monkeypatch.setattr(diagrams, "ROOT", tmp_path)
    monkeypatch.setattr(diagrams, "files", lambda: {page: "new", image: "drawn"})
    monkeypatch.setattr(sys, "argv", ["diagrams", "--check"])
    assert diagrams.main() == 1
    assert "differs from the code: page.md" in capsys.readouterr().out
    assert page.read_text() == "old"
    assert not image.exists()
    monkeypatch.setattr(sys, "argv", ["diagrams"])
    assert diagrams.main() == 0
    assert page.read_text() == "new"


def test_what_people_wrote_around_generated_parts_stays():
    begin, end = "<!-- a: generated by `make generate` -->", "<!-- /a -->"
    page = f"before {begin}old{end} after"
    assert diagrams.fill(page, {"a": "new"}) == f"before {begin}\n\nnew\n\n{end} after"
    with pytest.raises(ValueError, match="no markers for 'b'"):
        diagrams.fill(page, {"b": "new"})
