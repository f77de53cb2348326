import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hark.core.tokens import LONGEST_TOKEN, spans, tokens


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("@SouthwestAir lost my bag!!", ["@southwestair", "lost", "my", "bag"]),
        (
            "#Delayed again… don’t fly Southwest's wi-fi",
            ["#delayed", "again", "don't", "fly", "southwest", "wi", "fi"],
        ),
        ("see https://delta.com/delays and www.united.com", ["see", "and"]),
        (
            "hi @amy.bsky.social and @bob@mastodon.social.",
            ["hi", "@amy.bsky.social", "and", "@bob@mastodon.social"],
        ),
        ("@delta.thanks", ["@delta", "thanks"]),
        ("ＦＵＬＬ　ｗｉｄｔｈ", ["full", "width"]),
        ("de\u200blay\u00aded", ["delayed"]),
        ("行李丢了 🙄😡", ["行", "李", "丢", "了", "🙄", "😡"]),
        ("हिन्दी में", ["हिन्दी", "में"]),
        ("mañana www.x.de a’s http bag: it's", ["mañana", "a", "http", "bag", "it"]),
        ("façade wifi\u0301 wifi’n gate日", ["façade", "wifí", "wifi'n", "gate", "日"]),
        ("", []),
    ],
)
def test_words_are_what_a_reader_takes_for_words(text: str, expected: list[str]) -> None:
    assert tokens(text) == expected


@given(st.text(max_size=80))
def test_spans_give_the_same_tokens(text: str) -> None:
    assert [token for token, _, _ in spans(text)] == tokens(text)


@given(st.text(alphabet="aée\u0301\u0308ﬁ①가각ﾊﾟ\u200b@#’'s ", max_size=40))
def test_spans_lie_in_the_text_in_order_and_cover_their_token(text: str) -> None:
    start_before = 0
    for token, start, end in spans(text):
        assert start_before <= start < end <= len(text)
        start_before = start
        piece = unicodedata.normalize("NFKC", text[start:end].replace("\u200b", "")).lower().replace("’", "'")
        assert token in piece or piece in token


@given(st.text(max_size=60))
def test_tokens_are_stable_when_joined_and_read_again(text: str) -> None:
    once = tokens(text)
    assert tokens(" ".join(once)) == once or any("'" in token or "@" in token for token in once)


@pytest.mark.parametrize(
    "text", ["x" * 1_000_000, "🙄" * 64_000, "@a " * 10_000, "a" + "\u0301" * 50_000, "a'" * 99_999]
)
def test_hostile_texts_take_linear_time(text: str) -> None:
    assert all(len(token) <= LONGEST_TOKEN for token in tokens(text))
    assert len(spans(text)) == len(tokens(text))
