"""A role's log has one form, whoever writes into it."""

import json
import subprocess
import sys

PROGRAM = """
import logging
from hark import logs
logs.configure("enrich")
logging.getLogger("library").info("of no interest")
logging.getLogger("library").warning("lost %s", "it")
try:
    1 / 0
except ZeroDivisionError:
    logging.getLogger("library.part").exception("broke")
logging.getLogger("quiet").addHandler(logging.NullHandler())
logging.getLogger("quiet").error("told elsewhere")
"""


def test_what_libraries_log_is_an_event_like_any_other() -> None:
    run = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    warned, broke = [json.loads(line) for line in run.stderr.splitlines()]
    del warned["timestamp"]
    assert warned == {
        "event": "library",
        "name": "library",
        "reason": "lost it",
        "role": "enrich",
        "level": "warning",
    }
    assert (broke["level"], broke["reason"]) == ("error", "broke")
    assert "ZeroDivisionError" in broke["exception"]
