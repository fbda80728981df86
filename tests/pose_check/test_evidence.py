"""When single pictures become a verdict: not by one, soon by some, and never by sound ones."""

from hypothesis import given
from hypothesis import strategies as st

from multismolvla.pose_check.check import Evidence

MARGIN = 0.7
LOGITS = st.floats(-1e6, 1e6)


def verdicts(logits) -> list[bool]:
    evidence = Evidence(MARGIN)
    return [evidence.add(logit) for logit in logits]


@given(st.lists(st.floats(-1e6, MARGIN), max_size=200))
def test_pictures_within_the_margin_never_contradict(logits):
    assert not any(verdicts(logits))


@given(st.lists(LOGITS, max_size=2))
def test_one_picture_decides_nothing_nor_do_two(logits):
    assert not any(verdicts(logits))


@given(st.lists(LOGITS, max_size=50))
def test_three_gross_misfits_are_found_and_four_good_pictures_end_it(before):
    gross, good = MARGIN + Evidence.WHOLE, MARGIN - Evidence.WHOLE
    assert verdicts([*before, *3 * [gross]])[-1]
    assert not verdicts([*before, *3 * [gross], *4 * [good]])[-1]


@given(st.floats(0.05, 100.0))
def test_a_small_misfit_that_lasts_is_found(beyond):
    least = min(Evidence.MOST, beyond / Evidence.WHOLE)
    assert verdicts([MARGIN + beyond] * (int(1.0 / least) + 2))[-1]


def test_a_verdict_stays_until_the_doubt_is_gone():
    gross, good = MARGIN + Evidence.WHOLE, MARGIN - Evidence.WHOLE
    assert verdicts([gross] * 3 + [good, good, good, gross, good, good]) == [False, False] + 7 * [
        True
    ]
