"""Topics of a mention: phrases of the taxonomy in topics.toml, found by one pass, negation judged by spaCy.

The Aho-Corasick pass of enrich.cues finds candidates. Where a word of negation stands before a candidate that can be
said not to have happened ("no delay", "wasn't cancelled"), spaCy reads the words between: its tokenizer keeps the
punctuation, and a Matcher tells "not been delayed" from "No, it was delayed" and "can't believe it was delayed".

Each topic adds up its evidence, the strongest in full and each further piece at 0.8 of the one before; a longer phrase
hides those within it. confidence = evidence / (evidence + 1.5), which on the labelled airline tweets is about the
share of first topics that are right (docs/quality.md). Texts in another language are matched by that language's
phrases alone; brands and English words in them say nothing.
"""

import re
from collections.abc import Sequence
from importlib.metadata import version as installed

import spacy
from spacy.matcher import Matcher

from enrich import Context
from enrich.cues import Cue, longest, negated
from enrich.phrasebook import TOPICS, Phrasebook, load
from enrich.text import digest
from hark.core.draft import Draft
from hark.core.mention import Reason, Topic

RULES = "1"
"""Part of the version: changes with every change of the rules below."""

_LEAST = 0.6
"""Evidence below this is no topic."""
_DECAY = 0.8
_HALF = 1.5
_BEFORE = 4
"""Tokens before a candidate in which a negation is looked for."""
_NEGATION = ["not", "n't", "nt", "no", "never", "without", "cannot", "zero"]
_FILLERS = (
    "a an any the my our your his her their been be being yet really even actually getting get got "
    "have had has that too very further more another single lost lose cancel delay longer going to "
    "experienced had seen"
)
_BETWEEN = _FILLERS.split()
# What spaCy would find ends so; most words before a candidate do not, and need no asking.
_MAY_REACH = re.compile(rf"(?:{'|'.join(_NEGATION)})\s*(?:(?:{'|'.join(_BETWEEN)})\s*){{0,3}}\Z")
_REASONS = 3
_REMEMBERED = 10_000


Piece = tuple[float, int, int]
"""A piece of evidence: its weight, and its first and last token."""


class Negation:
    """spaCy's reading of the words before a candidate."""

    def __init__(self) -> None:
        self.nlp = spacy.blank("en")
        self._matcher = Matcher(self.nlp.vocab)
        between = {"LOWER": {"IN": _BETWEEN}, "OP": "{0,3}"}
        self._matcher.add("negation", [[{"LOWER": {"IN": _NEGATION}}, between]])

    def takes_back(self, before: str) -> bool:
        """Return whether a negation in `before` reaches to its end, with nothing but fillers between."""
        if not _MAY_REACH.search(before.lower()):
            return False
        document = self.nlp.make_doc(before)
        while document and document[-1].is_space:
            document = document[:-1].as_doc()
        return any(end == len(document) for _, _, end in self._matcher(document))


class _Made(dict[tuple[int, float], Topic]):
    """From a node (its number, negative) and its evidence to the Topic; bounded. Most evidence is one of a few sums."""

    def __init__(self, ids: Sequence[str]) -> None:
        self._ids = ids

    def __missing__(self, key: tuple[int, float]) -> Topic:
        node, total = key
        found = Topic(self._ids[-node], round(total / (total + _HALF), 3))
        if len(self) >= _REMEMBERED:
            self.clear()
        self[key] = found
        return found


class Topics:
    """Fills in `topics`, and a reason for the phrases that spoke for each."""

    name = "topics"

    def __init__(self, book: Phrasebook) -> None:
        """Take the taxonomy from `book`."""
        self.version = digest(RULES, book.digests[TOPICS], installed("spacy"))
        self._cues = book.cues
        self._evidence = book.evidence
        self._weights = [evidence.weight for evidence in book.evidence]
        self._told = {weight: round(weight, 2) for weight in self._weights}
        self._events = [node.event for node in book.taxonomy.topic]
        self._tags = ["topic:" + node.id for node in book.taxonomy.topic]
        self._made = _Made([node.id for node in book.taxonomy.topic])
        self._within = book.within
        # Texts in one language are judged by its phrases alone: by entry the node, the pair and its side.
        self._by_language: dict[str, list[tuple[int, int, int] | None]] = {
            language: [
                (each.node, each.pair, each.side) if each.language == language else None
                for each in book.evidence
            ]
            for language in {each.language for each in book.evidence}
        }
        self._negation = Negation()

    def enrich(self, drafts: Sequence[Draft]) -> None:
        """Find each draft's topics."""
        # Without the zone spaCy would keep every word it ever saw.
        with self._negation.nlp.memory_zone():
            for draft in drafts:
                cues = self._cues.scan(draft)[TOPICS]
                if cues:
                    known = self._by_language.get("" if draft.english else draft.language.code)
                    if known is not None:
                        self._find(draft, cues, known)

    def _find(self, draft: Draft, cues: list[Cue], known: Sequence[tuple[int, int, int] | None]) -> None:
        by_node: dict[int, list[Cue]] = {}
        sides: list[tuple[int, int, Cue]] = []
        for cue in cues:
            owner = known[cue[0]]
            if owner is None:
                continue
            node, pair, side = owner
            if pair >= 0:
                sides.append((pair, side, cue))
            elif node in by_node:
                by_node[node].append(cue)
            else:
                by_node[node] = [cue]
        pairs = self._pairs(sides) if len(sides) > 1 else {}
        for node in pairs:
            by_node.setdefault(node, [])
        found = []
        for node, node_cues in by_node.items():
            if len(node_cues) == 1 and node not in pairs and self._weights[node_cues[0][0]] < _LEAST:
                continue
            total, spoke = self._add_up(draft, node, node_cues, pairs.get(node, ()))
            if total >= _LEAST:
                found.append((total, -node, spoke))
        if found:
            if len(found) > 1:
                found.sort(reverse=True)
            self._tell(draft, found)

    def _pairs(self, sides: Sequence[tuple[int, int, Cue]]) -> dict[int, list[Piece]]:
        """Return, by node, the evidence of the pairs whose two sides stand near each other."""
        by_pair: dict[int, tuple[list[Cue], list[Cue]]] = {}
        for pair, side, cue in sides:
            if pair not in by_pair:
                by_pair[pair] = ([], [])
            by_pair[pair][side].append(cue)
        pairs: dict[int, list[Piece]] = {}
        for pair, (one, other) in by_pair.items():
            near = _near(one, other, self._within[pair]) if one and other else None
            if near is not None:
                evidence = self._evidence[near[0]]
                pairs.setdefault(evidence.node, []).append((evidence.weight, near[1], near[2]))
        return pairs

    def _tell(self, draft: Draft, found: Sequence[tuple[float, int, list[Piece]]]) -> None:
        tags, reasons = self._tags, draft.reasons
        starts, ends, told = draft.starts, draft.ends, self._told
        made = self._made
        draft.topics = tuple([made[node, total] for total, node, _ in found])
        for _, node, spoke in found:
            tag = tags[-node]
            for weight, first, last in spoke[:_REASONS]:
                reasons.append(Reason(tag, "phrase", told[weight], starts[first], ends[last]))

    def _add_up(
        self, draft: Draft, node: int, cues: list[Cue], pairs: Sequence[Piece]
    ) -> tuple[float, list[Piece]]:
        """Return a topic's evidence in sum, and its pieces, the strongest first."""
        tokens, weights, event = draft.tokens, self._weights, self._events[node]
        if len(cues) == 1 and not pairs:
            entry, first, last = cues[0]
            if event and negated(tokens, first, _BEFORE) and self._taken_back(draft, first):
                return 0.0, []
            return weights[entry], [(weights[entry], first, last)]
        spoke: dict[tuple[int, str, int], Piece] = {}
        denied: list[int] = []
        for entry, first, last in longest(cues):
            if event and negated(tokens, first, _BEFORE) and self._taken_back(draft, first):
                denied.append(first)
                continue
            # The same words again are no further evidence.
            spoke.setdefault((entry, tokens[first], last - first), (weights[entry], first, last))
        if denied and pairs:
            pairs = [pair for pair in pairs if not any(pair[1] <= place <= pair[2] for place in denied)]
        pieces = [*spoke.values(), *pairs]
        if len(pieces) > 1:
            pieces.sort(reverse=True)
        total, factor = 0.0, 1.0
        for weight, _, _ in pieces:
            total += weight * factor
            factor *= _DECAY
        return total, pieces

    def _taken_back(self, draft: Draft, first: int) -> bool:
        begin, _ = draft.span(max(0, first - _BEFORE))
        end, _ = draft.span(first)
        return self._negation.takes_back(draft.text[begin:end])


def _near(first: list[Cue], second: list[Cue], within: int) -> Cue | None:
    """Return a cue from the one phrase to the other where two are near each other; in linear time."""
    at = 0
    for cue in first:
        while at < len(second) - 1 and second[at][2] < cue[1] - within:
            at += 1
        other = second[at]
        if abs(other[1] - cue[1]) <= within and other[1:] != cue[1:]:
            return cue[0], min(cue[1], other[1]), max(cue[2], other[2])
    return None


def build(context: Context) -> Topics:
    """Return the step; it has no options and reads topics.toml."""
    return Topics(load(context.config))
