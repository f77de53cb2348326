import csv
import io
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from hark.alerts.detector import Detector
from hark.commands.detect import HEADER, command, judge_lines
from hark.core.errors import SettingsError

START = 1_790_812_800


def judge(text: str, *options: str):
    """Run the command on `text`; return its rows, its result."""
    result = CliRunner().invoke(command, list(options), input=text)
    return list(csv.DictReader(io.StringIO(result.stdout))), result


def burst() -> str:
    draw = np.random.default_rng(1)
    counts = draw.poisson(20, size=12 * 288)
    counts[3000:3012] *= 6
    return "timestamp,value\n" + "".join(f"{START + 300 * at},{count}\n" for at, count in enumerate(counts))


def test_each_row_gets_its_verdict_with_the_timestamp_as_it_came():
    stamps = ["2015-02-26 21:42:53", "2015-02-26T21:47:53Z", "2015-02-26T23:52:53+02:00", "1424987873"]
    rows, result = judge("timestamp,value\n" + "".join(f"{stamp},7\n" for stamp in stamps))
    assert result.stdout.splitlines()[0] == HEADER == "timestamp,value,expected,upper,severity,is_alert"
    assert [row["timestamp"] for row in rows] == stamps
    assert [row["value"] for row in rows] == ["7"] * 4
    assert all(float(row["upper"]) > float(row["expected"]) > 0 for row in rows)
    assert result.exit_code == 0


def test_an_alert_is_marked_where_it_begins_and_not_while_it_lasts():
    rows, _ = judge(burst())
    marked = [at for at, row in enumerate(rows) if row["is_alert"] == "1"]
    assert len(marked) == 1
    assert 3000 <= marked[0] <= 3002
    assert rows[marked[0] + 3]["is_alert"] == "0"
    assert 1 <= int(rows[marked[0] + 3]["severity"]) <= 10
    assert rows[2999]["severity"] == "0"


def test_a_row_is_judged_by_the_rows_up_to_it_alone():
    lines = burst().splitlines(keepends=True)
    whole = judge("".join(lines))[1].stdout.splitlines()
    part = judge("".join(lines[:3006]))[1].stdout.splitlines()
    assert part == whole[: len(part)]


def test_bad_lines_are_reported_with_their_numbers_and_the_others_go_on():
    rows, result = judge(
        "timestamp,value\n1000,5\nyesterday,5\n1300,many\n1600\n900,5\n1900,-2\n2200,nan\n\n2500,inf\n2800,6\n"
    )
    assert [row["timestamp"] for row in rows] == ["1000", "2200", "2800"]
    assert result.exit_code == 1
    errors = result.stderr.splitlines()
    assert [line.split(":")[0] for line in errors] == [f"line {number}" for number in (3, 4, 5, 6, 7, 10)]
    assert "'yesterday' is not a time" in errors[0]
    assert "not after" in errors[3]


def test_an_empty_value_is_a_gap():
    rows, result = judge("timestamp,value\n1000,5\n1300,\n1600,5\n")
    assert result.exit_code == 0
    assert [row["value"] for row in rows] == ["5", "", "5"]
    assert rows[1]["severity"] == "0"


def test_columns_are_found_by_their_names():
    rows, _ = judge('brand,value,timestamp\n"a, b",5,1000\nc,6,1300\n')
    assert [(row["timestamp"], row["value"]) for row in rows] == [("1000", "5"), ("1300", "6")]


def test_a_header_is_not_needed():
    rows, result = judge("1000,5\n1300,6\n")
    assert len(rows) == 2
    assert result.exit_code == 0


def test_a_byte_order_mark_and_windows_line_ends_are_read():
    rows, result = judge("\ufefftimestamp,value\r\n1000,5\r\n1300,6\r\n")
    assert [row["value"] for row in rows] == ["5", "6"]
    assert result.exit_code == 0


def test_a_higher_threshold_tells_of_less():
    text = burst()
    assert not any(row["is_alert"] == "1" for row in judge(text, "--threshold", "1000")[0])


def test_a_holiday_is_expected_to_be_as_a_sunday_from_its_midnight_on():
    first = datetime(2025, 10, 15, tzinfo=UTC)  # the first holidays are November 11 and 27
    hours = [first + timedelta(hours=at) for at in range(44 * 24)]
    quiet = [at.weekday() == 6 or (at.month, at.day) == (11, 11) for at in hours]
    text = "".join(f"{at.isoformat()},{30 if low else 100}\n" for at, low in zip(hours, quiet, strict=True))
    plain, known, there = (
        {row["timestamp"]: row for row in csv.DictReader(io.StringIO(HEADER + "\n" + said.split("\n", 1)[1]))}
        for said in (
            judge(text, *options)[1].stdout
            for options in ([], ["--holidays", "US"], ["--holidays", "US", "--zone", "America/Chicago"])
        )
    )
    midnight, later = "2025-11-27T00:00:00+00:00", "2025-11-27T06:00:00+00:00"
    assert float(plain[midnight]["expected"]) > 80
    assert float(known[midnight]["expected"]) < 60
    assert float(there[midnight]["expected"]) > 80
    assert float(there[later]["expected"]) < 60
    before = [at.isoformat() for at in hours if at < datetime(2025, 11, 11, tzinfo=UTC)]
    assert [known[at] for at in before] == [plain[at] for at in before]


@pytest.mark.parametrize("options", [["--holidays", "Atlantis"], ["--holidays", "US", "--zone", "Nowhere"]])
def test_holidays_of_nowhere_are_a_mistake_that_is_told(options):
    with pytest.raises(SettingsError, match=r"the options: holidays\.(countries|zone): expected .*found"):
        CliRunner().invoke(command, options, input="", catch_exceptions=False)


@pytest.mark.parametrize("options", [["--threshold", "0"], ["--watched", "0"], ["--interval", "0"]])
def test_options_out_of_range_are_usage_errors(options):
    assert judge("", *options)[1].exit_code == 2


def test_the_help_teaches_the_format():
    text = CliRunner().invoke(command, ["--help"]).output
    for word in ("timestamp,value,expected,upper,severity,is_alert", "Examples", "gap", "exit code"):
        assert word in text


def test_rows_are_written_as_they_come():
    """The second row is only sent when the first one's verdict has been read."""
    process = subprocess.Popen(
        [sys.executable, "-m", "hark", "detect"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=Path(__file__).resolve().parents[2],
    )
    assert process.stdin is not None
    assert process.stdout is not None
    with process:
        assert process.stdout.readline().decode().strip() == HEADER
        for line in ("timestamp,value\n1000,5\n", "1300,6\n"):
            process.stdin.write(line.encode())
            process.stdin.flush()
            assert process.stdout.readline().decode().startswith(line.splitlines()[-1])
        process.stdin.close()
    assert process.returncode == 0


def test_every_row_is_flushed():
    class Target(io.StringIO):
        flushed = 0

        def flush(self) -> None:
            self.flushed += 1

    target = Target()
    judge_lines(["1000,5\n", "1300,6\n"], target, print, Detector())
    assert target.flushed == 3
