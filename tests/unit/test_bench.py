from pathlib import Path

import msgspec
import pytest

from bench.pipeline import BLOCK, Report, measure, table
from bench.texts import texts
from enrich.chain import Chain, build_chain
from hark.settings import SHIPPED, load


@pytest.fixture(scope="module")
def chain() -> Chain:
    settings = load(SHIPPED, Path("unused"))
    return build_chain(settings.config, settings.brands)


def test_texts_never_repeat_and_depend_on_their_seed_alone() -> None:
    made = list(texts(3_000, seed=7))
    assert len(set(made)) == len(made) == 3_000
    assert made[:100] == list(texts(100, seed=7))
    assert made[:100] != list(texts(100, seed=8))
    assert 80 < sum(map(len, made)) / len(made) < 200


def test_every_stage_is_measured_beside_the_usual_pipeline(chain: Chain) -> None:
    done: list[int] = []
    report = measure(chain, 4 * BLOCK, progress=done.append)
    names = {"decode", *(step.name for step in chain.steps), "assemble", "encode", "insert"}
    assert report.stages.keys() == names
    assert all(microseconds >= 0 for microseconds in report.stages.values())
    assert report.whole > 0
    assert report.whole_per_second == pytest.approx(1e6 / report.whole, rel=0.01)
    assert done[-1] == 4 * BLOCK
    assert msgspec.json.decode(msgspec.json.encode(report), type=Report) == report
    assert all(name in table(report) for name in names)
