"""What is registered is also tested, documented and shown with a valid example."""

import re
import tomllib
from importlib import import_module
from pathlib import Path

import click
import pytest

from enrich import ENRICHERS
from hark import settings
from hark.bus import BUSES
from hark.commands import COMMANDS, program
from hark.query.fields import FIELDS
from ingest import SOURCES, open_source
from sinks import STORES

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_there_and_teaches(name: str) -> None:
    module = "import_" if name == "import" else name
    command = import_module(f"hark.commands.{module}").command
    assert isinstance(command, click.Command)
    assert len(command.get_help(click.Context(command, info_name=name))) > 100
    assert any(f"`{name}`" in page.read_text() or f"hark {name}" in page.read_text() for page in pages())


@pytest.mark.parametrize("kind", SOURCES)
def test_every_source_has_a_contract_test_a_page_and_an_example(kind: str) -> None:
    assert (ROOT / "tests" / "contract" / f"test_source_{kind}.py").exists()
    page = (ROOT / "docs" / "sources" / f"{kind}.md").read_text()
    for option in import_module(SOURCES[kind]).Options.__struct_fields__:
        assert f"`{option}`" in page or re.search(rf"^ +{option} = ", page, re.MULTILINE), option


def test_the_shipped_sources_are_valid(monkeypatch: pytest.MonkeyPatch) -> None:
    shipped = settings.load(settings.SHIPPED, Path("unused"))
    for name in re.findall(r"\$\{(\w+)\}", (settings.SHIPPED / "sources.toml").read_text()):
        monkeypatch.setenv(name, "value")
    assert {entry.type for entry in shipped.sources} >= {"x", "reddit", "bluesky"}
    for entry in shipped.sources:
        assert not entry.enabled
        assert open_source(entry, shipped.brands).name == entry.name


@pytest.mark.parametrize("module", sorted({*BUSES.values(), *STORES.values()}))
def test_every_log_and_store_has_a_contract_test(module: str) -> None:
    kind = "bus" if module.startswith("hark.bus") else "store"
    assert (ROOT / "tests" / "contract" / f"test_{kind}_{module.rpartition('.')[2]}.py").exists()


@pytest.mark.parametrize("name", ENRICHERS)
def test_every_enricher_is_described(name: str) -> None:
    assert f"\n## {name}\n" in (ROOT / "docs" / "enrichment.md").read_text()


def test_every_dependency_is_named_with_its_reason() -> None:
    page = (ROOT / "docs" / "dependencies.md").read_text()
    extras = [requirement for some in PROJECT["optional-dependencies"].values() for requirement in some]
    for requirement in [*PROJECT["dependencies"], *extras]:
        name = re.split(r"[\[<>=~ ]", requirement)[0]
        assert name in page, name


@pytest.mark.parametrize("name", ["requirements.lock", "requirements-second-opinion.lock"])
def test_the_lock_has_hashes_and_no_address(name: str) -> None:
    lock = (ROOT / name).read_text()
    assert "://" not in lock
    assert lock.count("--hash=sha256:") > 100


def test_the_lock_of_gigabytes_adds_to_the_first_and_changes_nothing_of_it() -> None:
    first, second = (
        set(re.findall(r"^\S+==\S+", (ROOT / name).read_text(), re.MULTILINE))
        for name in ("requirements.lock", "requirements-second-opinion.lock")
    )
    assert first < second
    assert not any(line.startswith(("torch==", "transformers==", "nvidia-")) for line in first)
    assert any(line.startswith("torch==") for line in second - first)


def pages() -> list[Path]:
    return [ROOT / "README.md", *(ROOT / "docs").glob("**/*.md")]


def test_the_pages_name_no_command_option_or_topic_that_is_not_there() -> None:
    topics = {topic["id"] for topic in every_topic()}
    helps = [help_of(command) for command in commands()]
    for text in [*(page.read_text() for page in pages()), *helps, *(field.example for field in FIELDS)]:
        assert set(re.findall(r"topic:([a-z-]+)", text)) <= topics
        for line in text.splitlines():
            for said in re.findall(r"(?:^ {2,4}(?:\$ )?|`)hark ([a-z][^`]*)", line):
                words = re.split(r" [#|<>…] ?|  |; | hark ", said)[0].split()
                command: click.Command = program
                while words and isinstance(command, click.Group) and re.fullmatch("[a-z][a-z-]+", words[0]):
                    found = command.get_command(click.Context(command), words.pop(0))
                    assert found is not None, line
                    command = found
                known = {option for parameter in command.params for option in parameter.opts} | {"--help"}
                assert {word for word in words if re.fullmatch("--[a-z-]+", word)} <= known, line


def commands() -> list[click.Command]:
    found = [program.get_command(click.Context(program), name) for name in COMMANDS]
    return [command for command in found if command is not None]


def help_of(command: click.Command) -> str:
    return command.get_help(click.Context(command, info_name=command.name, terminal_width=200))


def every_topic() -> list[dict[str, str]]:
    found: list[dict[str, str]] = tomllib.loads((settings.SHIPPED / "topics.toml").read_text())["topic"]
    return found
