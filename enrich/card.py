"""What is told of a model and of an evaluation: the model card (TASK.json and TASK.md), JSON, and tables."""

from collections import Counter
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

import msgspec

import hark
from enrich.comparison import Comparison
from enrich.examples import Examples
from enrich.finetune import Fitted
from enrich.measures import Figure, Scores, Sureness, scores, sureness
from enrich.training import Training, Validation, scores_by
from hark.core.errors import SettingsError

_WHAT = {
    "additive": "A linear support vector machine over words, pairs of words, character n-grams and what the untrained "
    "chain finds: {:,} features.",
    "spacy": "A text classifier of spaCy's (TextCatBOW) over words, pairs of words and what the untrained chain finds; it "
    "knows {:,} words.",
}
INTERVALS = "95 %, percentile bootstrap, 1,000 resamples, texts of one group together"


def write_card(
    training: Training,
    examples: Examples,
    file: str,
    today: date,
    folder: Path,
    comparison: Comparison | None = None,
    second: Fitted | None = None,
) -> Path:
    """Write the card of a model beside it, as JSON and as Markdown; return the Markdown's path.

    `comparison` is with the model that served when this one was made; `second` is its second opinion.
    """
    card = _card(training, examples, file, today) | {
        "comparison": comparison,
        "second_opinion": _second(second),
    }
    path = folder / f"{training.model.task}.md"
    try:
        path.with_suffix(".json").write_bytes(msgspec.json.format(msgspec.json.encode(card)) + b"\n")
        path.write_text(_markdown(card, training, second), encoding="utf-8")
    except OSError as error:
        raise SettingsError(f"{path}: {error.strerror}") from error
    return path


def evaluation_json(
    examples: Examples, said: Sequence[str], sure: Sequence[float], task: str, version: str
) -> dict[str, Any]:
    """Return what `hark evaluate --json` prints."""
    right = [a == b for a, b in zip(examples.labels, said, strict=True)]
    return {
        "task": task,
        "version": version,
        "data": examples.digest(),
        "unlabelled": examples.unlabelled,
        "broken": len(examples.broken),
        "intervals": INTERVALS,
        **_scores(scores(examples.labels, said, examples.groups)),
        **_sureness(sureness(sure, right)),
        "brands": _each(scores_by(examples.brands, examples, said)),
        "sources": _each(scores_by(examples.sources, examples, said)),
    }


def evaluation_text(examples: Examples, said: Sequence[str], sure: Sequence[float]) -> str:
    """Return what `hark evaluate` prints for people."""
    right = [a == b for a, b in zip(examples.labels, said, strict=True)]
    found = scores(examples.labels, said, examples.groups)
    return "\n".join(
        [
            *_summary(found, sureness(sure, right)),
            "",
            *_label_table(found),
            *_table_by("brand", scores_by(examples.brands, examples, said)),
            *_table_by("source", scores_by(examples.sources, examples, said)),
            "",
            f"Intervals: {INTERVALS}.",
        ]
    )


def _card(training: Training, examples: Examples, file: str, today: date) -> dict[str, Any]:
    model = training.model
    return {
        "task": model.task,
        "kind": model.kind,
        "date": today.isoformat(),
        "hark": hark.__version__,
        "seed": model.seed,
        "labels": model.labels,
        "file": file,
        "data": model.data,
        "texts": training.folds.scores.texts,
        "texts_of_label": dict(sorted(Counter(examples.labels).items())),
        "unlabelled": examples.unlabelled,
        "broken": len(examples.broken),
        "rare_labels_left_out": training.rare,
        "groups": len(set(examples.groups)) if examples.groups is not None else None,
        "features": len(model.features),
        "masked": model.names,
        "languages": model.languages,
        "intervals": INTERVALS,
        "folds": _validation(training.folds),
        "brands_left_out": None if training.left_out is None else _validation(training.left_out),
    }


def _validation(found: Validation) -> dict[str, Any]:
    return {
        **_scores(found.scores),
        **_sureness(found.sureness),
        "brands": _each(found.brands),
        "sources": _each(found.sources),
    }


def _each(found: dict[str, Scores]) -> dict[str, Any]:
    return {name: _scores(each) for name, each in found.items()}


def _scores(found: Scores) -> dict[str, Any]:
    return {
        "texts": found.texts,
        "accuracy": found.accuracy,
        "macro_f1": found.macro_f1,
        "classes": found.labels,
        "confusion": found.confusion,
    }


def _sureness(found: Sureness) -> dict[str, Any]:
    return {
        "calibration_error": found.calibration_error,
        "accuracy_surest_80": found.surest_80,
        "calibration": [{"confidence": a, "right": b, "texts": n} for a, b, n in found.bins],
    }


def _second(second: Fitted | None) -> dict[str, Any] | None:
    if second is None:
        return None
    return {
        "base": second.opinion.base,
        "precision": second.opinion.precision,
        "below": second.opinion.below,
        "asked": second.asked,
        "without": _validation(second.without),
        "together": _validation(second.together),
    }


def _markdown(card: dict[str, Any], training: Training, second: Fitted | None) -> str:
    groups = f", {card['groups']:,} groups" if card["groups"] is not None else ""
    lines = [
        f"# Model card: {card['task']}",
        "",
        f"Made on {card['date']} by Hark {card['hark']} with seed {card['seed']}, from {card['texts']:,} labelled "
        f"texts of {card['file']} (hash {card['data']}){groups}; {card['unlabelled']:,} rows without a label and "
        f"{card['broken']:,} that cannot be read were left out.",
        "",
        _WHAT[training.model.kind].format(card["features"])
        + " Handles and names of brands are masked. It speaks of texts in: "
        f"{', '.join(card['languages'])}. The labels are those of the texts above, with all their habits.",
        "",
        "## On texts unseen in training",
        "",
        "Five folds, groups kept apart.",
        "",
        *_of(training.folds),
    ]
    if training.rare:
        lines[3:3] = ["", f"Labels of too few texts, left out: {', '.join(training.rare)}."]
    if training.left_out is not None:
        lines += [
            "",
            "## On brands unseen in training",
            "",
            "Each brand left out once.",
            "",
            *_of(training.left_out),
        ]
    if second is not None:
        lines += ["", *_markdown_of_second(second)]
    if card["comparison"] is not None:
        lines += ["", "## Beside the model that served", "", told(card["comparison"]) + "."]
    return "\n".join([*lines, "", f"Intervals: {card['intervals']}.", ""])


def _markdown_of_second(second: Fitted) -> list[str]:
    opinion = second.opinion
    return [
        "## Second opinion",
        "",
        f"{opinion.base}, fine-tuned ({opinion.precision}), is asked where the confidence is below {opinion.below:.3f}. "
        "The figures above are without it. Those below are of one of the five folds: its network had learnt from the "
        "other four alone, and the blend was fitted on the other half of the fold's groups. The network that serves has "
        "learnt from all texts since, and no brand was left out: how it does on a brand never seen was not measured.",
        "",
        f"Asked of {second.asked:,} of {second.together.scores.texts:,} texts. Without it:",
        "",
        *_summary(second.without.scores, second.without.sureness),
        "",
        "With it:",
        "",
        *_of(second.together),
    ]


def told(found: Comparison) -> str:
    """Return in words how the new model did beside the one that served."""
    if found.difference is None:
        return f"It could not be compared with the model that served: {found.hindrance}"
    return (
        f"On {found.texts:,} texts of {found.groups:,} groups that neither learnt from: macro-F1 {found.new} against "
        f"{found.serving}, a difference of {_signed(found.difference.macro_f1)}; in accuracy "
        f"{_signed(found.difference.accuracy)}"
    )


def _signed(figure: Figure) -> str:
    return f"{figure.value:+.3f} ({figure.low:+.3f} to {figure.high:+.3f})"


def _of(found: Validation) -> list[str]:
    return [
        *_summary(found.scores, found.sureness),
        "",
        *_label_table(found.scores),
        *_table_by("brand", found.brands),
        *_table_by("source", found.sources),
        "",
        "Given (down) and said (across):",
        "",
        *_confusion_table(found.scores),
        "",
        *_table(
            ("mean confidence", "right", "texts"),
            [(f"{a:.3f}", f"{b:.3f}", n) for a, b, n in found.sureness.bins],
        ),
    ]


def _summary(found: Scores, sure: Sureness) -> list[str]:
    return [
        f"{found.texts:,} texts: accuracy {found.accuracy}, macro-F1 {found.macro_f1}.",
        f"Accuracy on the surest 80 %: {sure.surest_80:.3f}. Expected calibration error: {sure.calibration_error:.3f}.",
    ]


def _label_table(found: Scores) -> list[str]:
    return _table(
        ("label", "texts", "precision", "recall", "F1"),
        [(each.label, each.texts, each.precision, each.recall, each.f1) for each in found.labels],
    )


def _table_by(column: str, found: dict[str, Scores]) -> list[str]:
    if not found:
        return []
    rows = [(name or "(none)", each.texts, each.accuracy, each.macro_f1) for name, each in found.items()]
    return ["", *_table((column, "texts", "accuracy", "macro-F1"), rows)]


def _confusion_table(found: Scores) -> list[str]:
    names = [each.label for each in found.labels]
    return _table(("", *names), [(a, *(found.confusion.get(a, {}).get(b, 0) for b in names)) for a in names])


def _table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> list[str]:
    cells = [[str(cell).replace("|", "\\|").replace("\n", " ") for cell in row] for row in (head, *rows)]
    widths = [max(len(row[at]) for row in cells) for at in range(len(head))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
        for row in cells
    ]
    return [lines[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *lines[1:]]
