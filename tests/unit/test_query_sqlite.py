"""How queries are put to SQLite; that the answers are right is shown by the stores' contract."""

from collections.abc import Callable, Sequence
from itertools import cycle

import apsw
import pytest
from hypothesis import given

from hark.core.clock import to_ms
from hark.core.tree import And, Field, Near, Node, Not, Or, Phrase, Query, Term, Wildcard
from hark.query.fields import word
from hark.query.sqlite import DEEPEST, EVERY, MOST_TERMS, Plan, indexed, plan
from tests.support.queries import NOW, parsed, queries

TERMS = ("delay", "delayed", "relay", "gate")


def expand(pattern: str) -> Sequence[str] | None:
    return (
        None if pattern == "*el*" else [term for term in TERMS if pattern == "*lay" and term.endswith("lay")]
    )


def planned(text: str) -> Plan:
    return plan(parsed(text), expand)


@pytest.fixture(scope="module")
def index() -> apsw.Connection:
    """An FTS5 table as the embedded store makes it."""
    db = apsw.Connection(":memory:")
    db.execute(
        'CREATE VIRTUAL TABLE search USING fts5(tokens, title, tokenize="ascii tokenchars'
        " '!\"\"#$%&''()*+,-./:;<=>?@[\\]^_`{|}~'\")"
    )
    return db


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("", None),
        ("Delay", '"delay"'),
        ("delay refund", '("delay" AND "refund")'),
        ("delay OR refund", '("delay" OR "refund")'),
        ('"my late flight"', '"my late flight"'),
        ("dela*", '"dela" *'),
        ('"my dela*"', '"my dela" *'),
        ("*lay", '("delay" OR "relay")'),
        ("zz*z", '"=="'),
        ("brand:southwest", '"=brand=southwest"'),
        ('brand:"love field"', '"=brand=love%20field"'),
        ("delay -refund -gate", '("delay" NOT ("refund" OR "gate"))'),
        ("NOT delay", '("=" NOT "delay")'),
        ("delay OR NOT gate", '("delay" OR ("=" NOT "gate"))'),
        ("late NEAR/3 bag", 'NEAR("late" "bag", 3)'),
        ('"late flight" NEAR/3 ba*', 'NEAR("late flight" "ba" *, 3)'),
        ("(late OR slow) NEAR/1 bag", '(NEAR("late" "bag", 1) OR NEAR("slow" "bag", 1))'),
    ],
)
def test_what_the_index_says_exactly_is_left_to_it(text: str, match: str | None) -> None:
    assert planned(text) == Plan(match)


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("late ONEAR/3 bag", '("late" AND "bag")'),
        ("late NEAR/3 late", '("late" AND "late")'),
        ('"late flight" NEAR/3 "flight home"', '("late flight" AND "flight home")'),
        ("dela* NEAR/3 delay", '("dela" * AND "delay")'),
        ('"my d?lay today"', '("my" AND "==" AND "today")'),
        ('"*el* flight"', '"flight"'),
        ("*el*", None),
        ("gate *el*", '"gate"'),
        ("gate NOT (late ONEAR/3 bag)", '"gate"'),
        ("gate OR late ONEAR/3 bag", '("gate" OR ("late" AND "bag"))'),
    ],
)
def test_what_it_cannot_say_is_narrowed_and_left_to_the_match(text: str, match: str | None) -> None:
    assert planned(text) == Plan(match, exact=False)


def test_numbers_become_conditions_and_an_unknown_number_is_neither_more_nor_less() -> None:
    assert planned("delay followers>=1k") == Plan(
        '"delay"', ("(m.followers IS NOT NULL AND m.followers >= ?)",), (1000,)
    )
    assert planned("NOT followers>=1k").where == ("NOT (m.followers IS NOT NULL AND m.followers >= ?)",)


def marks(name: str, least: int, greatest: int) -> str:
    return "(" + " OR ".join(f'"={name}~{size}"' for size in range(least, greatest + 1)) + ")"


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("followers>=1024", marks("followers", 11, 31)),
        ("followers>1023", None),
        ("followers:5000", '"=followers~13"'),
        ("delay priority>=95", f'({marks("priority", 9, 10)} AND "delay")'),
        ("delay influence>250", '("=influence~10" AND "delay")'),
        ("reach<60", None),
        ("NOT automation>=60", None),
    ],
)
def test_great_numbers_are_looked_for_by_their_marks_and_then_compared(text: str, match: str | None) -> None:
    found = planned(text)
    assert (found.match, found.exact) == (match, True)
    assert len(found.where) == 1


def test_words_and_numbers_under_or_stay_exact_without_the_match() -> None:
    found = planned("gate AND (delay OR priority>50)")
    assert found.exact
    assert found.match == f'(("delay" OR {marks("priority", 5, 10)}) AND "gate")'
    assert found.where == (
        "(m.n IN (SELECT rowid FROM search WHERE search MATCH ?) OR (m.priority IS NOT NULL AND m.priority > ?))",
    )
    assert found.parameters == ('"delay"', 50)


def test_comparisons_of_time_become_a_range() -> None:
    now = to_ms(NOW)
    found = planned("delay created>=now-2h created<now created>now-3h")
    assert (found.match, found.where) == ('"delay"', ())
    assert (found.since, found.until) == (now - 7_200_000, now)


def test_a_tree_too_deep_for_sqlite_is_left_to_the_match() -> None:
    node: Or | Not | Term = Term("delay")
    for _ in range(5_000):
        node = Not(Or((node, Term("gate"))))
    assert plan(Query("", node), expand) == Plan(None, exact=False)


@pytest.mark.parametrize("shape", ["and or", "not and", "or not and", "and not or"])
def test_the_index_understands_every_shape_as_deep_as_trees_may_be(
    index: apsw.Connection, shape: str
) -> None:
    steps: dict[str, Callable[[Node], Node]] = {
        "and": lambda node: And((Term("a"), node, Term("b"))),
        "or": lambda node: Or((Term("c"), node)),
        "not": Not,
    }
    node: Node = Or((Phrase((Term("x"), Wildcard("y*"))), Near(Term("x"), Term("y"), 3)))
    for depth, step in zip(range(4, DEEPEST + 1), cycle(shape.split()), strict=False):
        node = steps[step](node)
        found = plan(Query("", node), expand)
        assert found.exact, depth
        index.execute("SELECT count(*) FROM search WHERE search MATCH ?", (found.match,)).fetchall()
    assert not plan(Query("", Not(node)), expand).exact


def test_a_pattern_is_expanded_once_however_often_it_is_asked() -> None:
    asked: list[str] = []

    def counting(pattern: str) -> Sequence[str] | None:
        asked.append(pattern)
        return None

    plan(parsed("(a OR (b AND (*lay OR (c AND (*lay OR NOT *lay)))))"), counting)
    assert asked == ["*lay"]


@pytest.mark.parametrize(
    "value", ['"; DROP TABLE mentions; --', 'a" OR "b', "{tokens} : x", "NEAR(a b)", "a*", "\0"]
)
def test_whatever_stands_in_a_value_is_only_looked_for(index: apsw.Connection, value: str) -> None:
    index.execute("DELETE FROM search")
    match = plan(Query("", Field("author", "=", value)), expand).match
    assert match is not None
    assert index.execute("SELECT rowid FROM search WHERE search MATCH ?", (match,)).fetchall() == []
    index.execute("INSERT INTO search VALUES (?, ?)", indexed([], ["a", "b", "x"], [word("author", value)]))
    assert len(index.execute("SELECT rowid FROM search WHERE search MATCH ?", (match,)).fetchall()) == 1


@given(queries(max_leaves=12))
def test_the_index_understands_every_expression(index: apsw.Connection, text: str) -> None:
    match = planned(text).match
    if match is not None:
        index.execute("SELECT count(*) FROM search WHERE search MATCH ?", (match,)).fetchall()


def test_a_thousand_alternatives_are_answered(index: apsw.Connection) -> None:
    index.execute("DELETE FROM search")
    index.execute("INSERT INTO search VALUES (?, ?)", indexed(["w7"], ["gate"], ["source=x"]))
    match = planned(" OR ".join(f"w{i}" for i in range(MOST_TERMS * 2))).match
    assert index.execute("SELECT count(*) FROM search WHERE search MATCH ?", (match,)).fetchall() == [(1,)]


def test_no_pattern_over_words_finds_a_filter(index: apsw.Connection) -> None:
    index.execute("DELETE FROM search")
    index.execute("INSERT INTO search VALUES (?, ?)", indexed([], ["gate"], ["brand=southwest"]))
    for text in ("brand*", "south*", "southwest"):
        match = planned(text).match
        assert index.execute("SELECT count(*) FROM search WHERE search MATCH ?", (match,)).fetchall() == [
            (0,)
        ]


def test_no_phrase_and_no_near_crosses_from_title_to_text(index: apsw.Connection) -> None:
    index.execute("DELETE FROM search")
    index.execute(
        "INSERT INTO search VALUES (?, ?)", indexed(["late", "flight"], ["home", "again"], ["source=x"])
    )
    counts = []
    for text in ("flight home", '"flight home"', "flight NEAR/9 home", '"late flight"', "home NEAR/0 again"):
        match = planned(text).match
        ((count,),) = index.execute("SELECT count(*) FROM search WHERE search MATCH ?", (match,))
        counts.append(count)
    assert counts == [1, 0, 0, 1, 1]
    assert indexed([], ["a"], ["b=c"]) == (f"a {EVERY} =b=c", "")
