"""What the browser is sent: files of others unchanged, nothing inline, and all of it in the package."""

import re
import tomllib
from hashlib import sha256
from pathlib import Path

import hark.console

CONSOLE = Path(hark.console.__file__).parent
TEMPLATES = sorted((CONSOLE / "templates").glob("*.html"))
INLINE = re.compile(
    r"<script(?![^>]*\bsrc=)(?![^>]*type=\"application/json\")|<style|\sstyle=|\son[a-z]+=|javascript:|\|\s*safe\b"
)


def test_vendored_files_are_as_published() -> None:
    folder = CONSOLE / "static" / "vendor"
    table = tomllib.loads((folder / "vendored.toml").read_text())
    known = {name: digest for part in table.values() for name, digest in part["sha256"].items()}
    assert {path.name for path in folder.iterdir()} == {*known, "vendored.toml"}
    for name, digest in known.items():
        assert sha256((folder / name).read_bytes()).hexdigest() == digest, name


def test_no_template_has_what_the_content_security_policy_forbids() -> None:
    assert TEMPLATES
    for path in TEMPLATES:
        assert not (found := INLINE.search(path.read_text())), f"{path.name}: {found and found[0]!r}"


def test_no_file_of_ours_names_another_host() -> None:
    for path in [*TEMPLATES, *(CONSOLE / "static").glob("*.*")]:
        named = set(re.findall(r"https?://[^\s\"'/]+", path.read_text())) - {"http://www.w3.org"}
        assert not named, (path.name, named)
