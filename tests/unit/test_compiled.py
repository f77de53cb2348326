"""The compiled modules of tagging are the sources' own: the same findings, and never out of step with an edit."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import hark
from hark.compiled import MODULES, RECORD, ROOT, source_of, state
from tests.support.require import missing

TAGS = """
import hashlib, hark, msgspec
from bench.end_to_end import changes
from enrich.chain import build_chain
from hark.settings import load
settings = load()
chain = build_chain(settings.config, settings.brands)
tags = chain.tag([change.mention for change in changes(3_000)])
print(hark.TAGGING)
print(chain.version, hashlib.sha256(msgspec.json.encode(tags)).hexdigest())
"""


def said(program: str, root: Path = ROOT, **environment: str) -> list[str]:
    """Run a program of Python on the packages in `root`; return the lines it prints."""
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=root,
        env=os.environ | {"PYTHONPATH": str(root)} | environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.splitlines()


def need_compiled() -> None:
    if state() != "compiled":
        missing(f"tagging runs as {state()}: a C compiler and Python's headers, then `make` again")


def test_compiled_tagging_finds_what_the_sources_find_to_the_letter() -> None:
    need_compiled()
    compiled, plain = said(TAGS), said(TAGS, HARK_PLAIN="1")
    assert (compiled[0], plain[0]) == ("compiled", "plain Python (HARK_PLAIN=1)")
    assert compiled[1] == plain[1]


def copied(to: Path) -> Path:
    for package in ("hark", "enrich"):
        shutil.copytree(ROOT / package, to / package, ignore=shutil.ignore_patterns("__pycache__"))
    return to


WHERE = (
    "import hark, enrich.vader, hark.core.draft as d; print(hark.TAGGING, enrich.vader.__file__, d.__file__)"
)


def test_after_an_edit_all_sources_run_until_they_are_compiled_again(tmp_path: Path) -> None:
    need_compiled()
    root = copied(tmp_path)
    (found,) = said(WHERE, root)
    assert found.startswith("compiled ")
    assert found.count(".so") == 2
    with (root / "enrich" / "topics.py").open("a") as file:
        file.write("# edited\n")
    (found,) = said(WHERE, root)
    assert "the sources have changed" in found
    assert ".so" not in found
    # An installation that was interrupted has compiled modules and no record of them.
    (root / RECORD).unlink()
    (found,) = said(WHERE, root)
    assert "not compiled when it was installed" in found
    assert ".so" not in found


def test_a_record_of_another_python_or_of_nonsense_is_not_trusted(tmp_path: Path) -> None:
    for module in MODULES:
        path = tmp_path / source_of(module)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
    (tmp_path / "hark" / "compiled.json").write_text('{"python": ".cpython-27.so"}')
    assert "install again" in state(tmp_path)
    (tmp_path / "hark" / "compiled.json").write_bytes(b"\xff{")
    assert "not compiled" in state(tmp_path)


def test_what_runs_is_known_to_the_program() -> None:
    assert state() == hark.TAGGING
