import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hark.core.errors import SettingsError
from hark.core.mention import Mention
from hark.core.tree import All, And, Field, Near, Node, Not, Or, Phrase, Query, Term, Wildcard
from hark.query import QueryError, parse
from hark.query.explain import describe, text_of
from hark.query.lexer import LONGEST_QUERY
from hark.query.match import Document, compile_query
from hark.settings import load
from tests.support.hostile import in_proportion
from tests.support.queries import HOSTILE, NOW, mentions, parsed, queries

a, b, c, d = Term("a"), Term("b"), Term("c"), Term("d")


def attempt(text: str) -> Query | QueryError:
    try:
        return parse(text)
    except QueryError as error:
        return error


def root(text: str) -> Node:
    return parsed(text).root


@pytest.mark.parametrize(
    ("text", "tree"),
    [
        ("", All()),
        (" \n ", All()),
        ("A", a),
        ("a b", And((a, b))),
        ("a AND b c", And((a, b, c))),
        ("a OR b c", Or((a, And((b, c))))),
        ("a OR (b OR c)", Or((a, b, c))),
        ("(a OR b) c", And((Or((a, b)), c))),
        ("NOT a b", And((Not(a), b))),
        ("a -b", And((a, Not(b)))),
        ("a -(b OR c)", And((a, Not(Or((b, c)))))),
        ("NOT NOT a", a),
        ("NOT a NEAR/2 b", Not(Near(a, b, 2))),
        ("a ONEAR/0 b", Near(a, b, 0, ordered=True)),
        ('(a OR "b c") NEAR/9 d*d', None),
        ("a and b", And((a, Term("and"), b))),
        ("or", Term("or")),
        ("a-b", Phrase((a, b))),
        ('"a  B"', Phrase((a, b))),
        ("“a b”", Phrase((a, b))),
        ("«a» „b“", And((a, b))),
        ("O’Hare's", Term("o'hare")),
        ("@Delta #SWA", And((Term("@delta"), Term("#swa")))),
        ("e-mail*", Phrase((Term("e"), Wildcard("mail*")))),
        ('"dela** at"', Phrase((Wildcard("dela*"), Term("at")))),
        ("ＤＥＬＴＡ＊", Wildcard("delta*")),
        ("日本", Phrase((Term("日"), Term("本")))),
        ("Brand:Southwest", Field("brand", "=", "southwest")),
        ("from:@SouthwestAir", Field("author", "=", "southwestair")),
        ('place:"Dallas, TX"', Field("place", "=", "dallas, tx")),
        (r'place:"say \"hi\""', Field("place", "=", 'say "hi"')),
        ("url:https://www.Example.com/a/?b=c", Field("url", "=", "example.com/a/?b=c")),
        ("id:x:123", Field("id", "=", "x:123")),
        ("lang:en-US", Field("lang", "=", "en")),
        ("brand:(a OR b)", Or((Field("brand", "=", "a"), Field("brand", "=", "b")))),
        ("id:(x:1 -x:2)", And((Field("id", "=", "x:1"), Not(Field("id", "=", "x:2"))))),
        ("followers >= 10,000", Field("followers", ">=", "10000")),
        ("followers>10k", Field("followers", ">", "10000")),
        ("priority:70", Field("priority", "=", "70")),
        ("created>2026-11-01", Field("created", ">", "2026-11-01T00:00:00Z")),
        ("created>now-2h", Field("created", ">", "2026-11-03T10:00:00Z")),
        ("created<=2026-11-01T12:00:00.250+05:45", Field("created", "<=", "2026-11-01T06:15:00.250Z")),
    ],
)
def test_trees(text: str, tree: Node | None) -> None:
    if tree is None:
        tree = root(text_of(root(text)))
    assert root(text) == tree


def test_a_day_is_the_whole_day() -> None:
    first, last = "2026-11-01T00:00:00Z", "2026-11-02T00:00:00Z"
    assert root("created:2026-11-01") == And((Field("created", ">=", first), Field("created", "<", last)))


@pytest.mark.parametrize(
    ("text", "position", "parts"),
    [
        ("a OR", 4, ['expected a word, a "phrase"', "after OR", "found the end of the query"]),
        ("a OR OR b", 5, ["found 'OR'", "put it into double quotes"]),
        ("AND a", 0, ["found 'AND'"]),
        ("(a OR b", 0, ["this ( is never closed"]),
        ("a) b", 1, ["this ) closes nothing"]),
        ("()", 1, ["found ')'"]),
        ('a "b c', 2, ["this quote is never closed"]),
        ('a ""', 2, ["there is no word"]),
        ("a -- b", 2, ["there is no word in '--'"]),
        ("bran:x", 0, ["no field 'bran'", "did you mean brand?"]),
        ("sentimant:negative", 0, ["did you mean sentiment?"]),
        ("a 10:30", 2, ["no field '10'", "followers", "quotes"]),
        ("https://example.com/a", 0, ["a link is no word", "url:"]),
        ("www.example.com", 0, ["url:"]),
        ("brand:", 6, ["expected a value"]),
        ("brand: OR a", 7, ["expected a value, found OR"]),
        ("brand:()", 7, ["expected a value", "found ')'"]),
        ("has:medai", 4, ["did you mean has:media?"]),
        ("urgency>=high", 0, ["not compared by >=", "urgency:high"]),
        ("followers>=many", 11, ["whole number", "followers>=10000"]),
        ("created>yesterday", 8, ["expected a time", "now-2h"]),
        ("created>2026-13-01", 8, ["expected a time"]),
        ("created>now-999999999w", 8, ["expected a time"]),
        ("created:now-2h", 8, ["single instant", "created>=now-2h"]),
        ("*", 0, ["stands for nearly every word"]),
        ("a*", 0, ["a pattern needs 2 letters"]),
        ('"southwest * airlines"', 0, ["NEAR/1"]),
        ("x" * 120 + "*", 0, ["fewer than 100 characters"]),
        ("a near/5 b", 2, ["did you mean NEAR/5?"]),
        ("a NEAR/5f b", 2, ["did you mean ONEAR/5?"]),
        ("a NEAR b", 2, ["NEAR/5"]),
        ("a NEAR/101 b", 2, ["too great", "0 to 100"]),
        ("a NEAR/1 b NEAR/2 c", 11, ["two sides", "AND b NEAR/2 c"]),
        ("(a b) NEAR/1 c", 6, ["not AND, NOT or a field"]),
        ("brand:x NEAR/1 c", 8, ["not AND, NOT or a field"]),
        ("a NEAR/1 (b NEAR/1 c)", 2, ["not another NEAR"]),
        ('"a b"~5', 5, ["did you mean one NEAR/5 other?"]),
        ("a && b", 2, ["did you mean AND?"]),
        ("a || b", 2, ["did you mean OR?"]),
        ("> 5", 0, ["field's name before"]),
    ],
)
def test_a_mistake_is_reported_where_it_is(text: str, position: int, parts: list[str]) -> None:
    with pytest.raises(QueryError) as caught:
        parse(text)
    assert caught.value.position == position
    said, shown, caret = str(caught.value).split("\n")
    assert all(part in said for part in parts), said
    assert f"position {position + 1}:" in said
    if len(text) <= 60:
        assert shown == f"  {text}"
        assert caret == " " * (position + 2) + "^"


def test_a_mistake_in_many_lines_has_line_and_column() -> None:
    with pytest.raises(SettingsError) as caught:
        parse("southwest\nOR delta OR\nOR united")
    said, shown, caret = str(caught.value).split("\n")
    assert said.startswith("line 3, column 1:")
    assert (shown, caret) == ("  OR united", "  ^")


@settings(max_examples=200)
@given(queries())
@example('place:"say \\"hi\\" \\\\" OR author:"a b"')
@example("created:2026-11-01 OR -created>now-1d")
def test_the_printed_tree_parses_to_the_same_tree(text: str) -> None:
    tree = root(text)
    assert root(text_of(tree)) == tree
    assert describe(parsed(text))


@settings(max_examples=200)
@given(st.text(max_size=60), mentions())
@example("\ud800 brand:\ud800", None)
def test_any_text_is_answered_or_refused(text: str, pair: tuple[object, object] | None) -> None:
    query = attempt(text)
    if isinstance(query, QueryError):
        assert 0 <= query.position <= len(text)
        return
    assert root(text_of(query.root)) == query.root
    if pair is not None:
        compile_query(query).spans(Document(*pair))  # type: ignore[arg-type]


@settings(max_examples=200)
@given(
    st.lists(
        st.sampled_from(
            ["(", ")", '"', "-", "AND", "OR", "NOT", "NEAR/2", "brand:", "created>", "now", "a", "dela*", "*", "?",
             " ", "\\", "“", "~5", "5", "@", "#", "\x00", "\n"]
        ),
        max_size=15,
    ).map("".join)
)  # fmt: skip
def test_any_sequence_of_the_languages_pieces_is_answered_or_refused(text: str) -> None:
    query = attempt(text)
    assert isinstance(query, QueryError) or root(text_of(query.root)) == query.root


@settings(max_examples=200)
@given(
    st.sampled_from(["author", "mentions", "hashtag", "url", "site", "place"]),
    st.lists(
        st.sampled_from(["@", "#", "＠", "＃", "www.", "a", "bc", ".", "/", " ", "https://"]), max_size=7
    ).map("".join),
)
@example("author", "@@traveller")
@example("hashtag", "##late")
@example("url", "www.www.example.com")
@example("site", "@www./@")
@example("url", "@. #")
def test_values_with_signs_before_them_are_read_back(name: str, value: str) -> None:
    query = attempt(f'{name}:"{value}"')
    assert isinstance(query, QueryError) or root(text_of(query.root)) == query.root


@pytest.mark.timeout(60)  # a fraction of a second; without end where a pattern is tried in every way
@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_queries_are_answered_or_refused(name: str) -> None:
    query = attempt(HOSTILE[name])
    if isinstance(query, QueryError):
        assert len(str(query)) < 1_000
        assert not any(character < " " for character in str(query).replace("\n", ""))
    else:
        assert parse(text_of(query.root)).root == query.root
        text = ("a " * 500 + "a" * 3000) * 100 + " w999x"
        compile_query(query).spans(Document(mention_of(text)))


@in_proportion
@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_queries_are_read_in_time_in_proportion_to_their_length(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = HOSTILE[name][:LONGEST_QUERY]
    longer = " ".join([text] * (120_000 // len(text) + 1))
    monkeypatch.setattr("hark.query.lexer.LONGEST_QUERY", len(longer))
    query = attempt(longer)
    assert not (isinstance(query, QueryError) and "characters, and at most" in str(query))


def test_a_query_that_is_too_long_is_refused_unread() -> None:
    with pytest.raises(QueryError, match="has 20,001 characters, and at most 20,000 are taken"):
        parse(")" * (LONGEST_QUERY + 1))


def mention_of(text: str) -> Mention:
    return Mention("x:1", "x", text, NOW, NOW)


def test_what_looks_like_sql_or_json_is_nothing_but_words() -> None:
    assert root("x'; DROP TABLE x") == And((Term("x"), Term("drop"), Term("table"), Term("x")))
    assert root('"{match_all: []}"') == Term("match_all")


def test_the_shipped_brands_are_queries() -> None:
    names = [brand.name for brand in load().brands]
    assert names == ["southwest", "delta", "united"]
    assert all(parse(text_of(brand.query.root)).root == brand.query.root for brand in load().brands)


def test_now_is_the_clocks() -> None:
    assert parse("created>now", clock=lambda: NOW).root == Field("created", ">", "2026-11-03T12:00:00Z")
