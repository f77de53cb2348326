"""Compiles what tagging spends its time in (hark/compiled.py names it), with mypyc: the same Python, about a seventh faster.

A hook of hatchling, for wheels and editable installs alike; `python hatch_build.py` does it in place after an edit, as
`make` does. Where there is no C compiler, nothing is compiled, and Hark runs as plain Python: `hark check` says which.
"""

import json
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

ROOT = Path(__file__).resolve().parent
_COMPILE = """
import sys
from mypyc.build import mypycify
from setuptools import setup
# Types are checked by `make check`; here a library that is not installed, as in a build of its own, must not matter.
options = ["--ignore-missing-imports", "--allow-subclassing-any", "--allow-untyped-decorators", "--no-warn-return-any",
           "--cache-dir=build/mypy"]
extensions = mypycify([*options, *sys.argv[1:]], opt_level="3", debug_level="0", separate=True)
setup(name="hark", packages=[], ext_modules=extensions, script_args=["-q", "build_ext", "--inplace", "-j2"])
"""


class CustomBuildHook(BuildHookInterface[Any]):
    """What hatchling calls before it packs."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile, and have what came out packed with the rest; a wheel without it fits every machine."""
        if compile_all():
            build_data["artifacts"] += ["*.so", "*.pyd", "/hark/compiled.json"]
            build_data["pure_python"], build_data["infer_tag"] = False, True


def compile_all() -> bool:
    """Compile in place, a minute; return whether that went well, and say what did not."""
    compiled = runpy.run_path(str(ROOT / "hark" / "compiled.py"))
    record = ROOT / compiled["RECORD"]
    before = compiled["fingerprint"](ROOT)
    if record.is_file() and record.read_text() == json.dumps(before):
        return True
    record.unlink(missing_ok=True)
    print("compiling what tagging spends its time in (a minute) …", file=sys.stderr, flush=True)
    sources = [compiled["source_of"](module) for module in compiled["MODULES"]]
    done = subprocess.run(
        [sys.executable, "-c", _COMPILE, *sources],
        cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    if done.returncode:
        said = done.stdout.strip().splitlines()[-1:] or ["no reason given"]
        print(f"not compiled, so plain Python tags, a seventh slower: {said[0]}", file=sys.stderr)
        return False
    record.write_text(json.dumps(before))
    return True


if __name__ == "__main__":
    compile_all()
