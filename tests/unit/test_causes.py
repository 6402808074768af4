"""The words of the causes: none is forgotten, and every template has what it needs."""

import ast
from dataclasses import fields
from pathlib import Path

import pytest

from pytest_nonblocking import causes
from pytest_nonblocking.causes import CAUSE_TEXTS
from pytest_nonblocking.model import CAUSES, Budget
from pytest_nonblocking.options import OPTIONS

FACTS = {
    "amount": "20 ms",
    "blocked": " and 9 ms blocked: 29 ms",
    "threads": "4 threads",
    "calls": "2 calls",
    "idle": "3 ms of 9 ms",
    "loop": "; the event loop itself is free",
}
OPTIONAL = {"in_callback"}


def measures(cause):
    text = CAUSE_TEXTS[cause]
    return [measure for measure in (text.in_burst, text.in_callback) if measure is not None]


def test_every_cause_has_an_entry_and_there_are_no_others():
    assert set(CAUSE_TEXTS) == set(CAUSES)


@pytest.mark.parametrize("cause", CAUSES)
def test_no_words_of_a_cause_are_missing(cause):
    text = CAUSE_TEXTS[cause]
    for field in fields(text):
        if field.name not in OPTIONAL:
            assert getattr(text, field.name), field.name


@pytest.mark.parametrize("cause", CAUSES)
def test_an_explanation_is_one_sentence_and_a_fix_continues_one(cause):
    text = CAUSE_TEXTS[cause]
    assert text.explanation[0].isupper()
    assert text.explanation.endswith(".")
    assert ". " not in text.explanation
    assert text.fix[0].islower()
    assert not text.fix.endswith(".")
    assert text.headline[0].islower()


@pytest.mark.parametrize("cause", CAUSES)
def test_what_was_measured_can_be_described(cause):
    for measure in measures(cause):
        described = measure.text.format(**FACTS)
        assert "{" not in described
        assert isinstance(getattr(Budget(), measure.part), float)
        assert measure.setting is None or measure.setting in {option.name for option in OPTIONS}


def test_a_callback_is_held_to_a_limit():
    in_callback = [text.in_callback for text in CAUSE_TEXTS.values() if text.in_callback]
    assert {measure.setting for measure in in_callback} == {"max_lag", "max_blocked"}


def test_the_words_know_the_model_only():
    tree = ast.parse(Path(causes.__file__).read_text("utf-8"))
    relative = [n.module for n in ast.walk(tree) if isinstance(n, ast.ImportFrom) and n.level]
    assert relative == ["model"]
