from dataclasses import asdict, replace

import numpy as np
import pytest

from hyperct_pipeline.phantom.cohort import Study
from hyperct_pipeline.phantom.habitus import Habitus, draw_habitus


def build(study: Study, **scores: float) -> Habitus:
    """Habitus of a study with other scores and the same chances."""
    study = replace(study, scores=study.scores | scores)
    return draw_habitus(study, np.random.default_rng(study.patient_index), np.random.default_rng(study.index))


def test_collapse_raises_the_diaphragm_of_its_own_side_only(plan: list[Study]) -> None:
    seen = set()
    for study in plan[:60]:
        plain, collapsed = build(study, atelectasis=-3), build(study, atelectasis=1.5)
        rise = 12 * replace(study, scores={"atelectasis": 1.5}).severity("atelectasis")
        assert collapsed.dome_right_mm - plain.dome_right_mm == pytest.approx(rise * (-1 in collapsed.collapsed))
        assert collapsed.dome_left_mm - plain.dome_left_mm == pytest.approx(rise * (1 in collapsed.collapsed))
        assert plain.collapsed == ()
        seen.add(collapsed.collapsed)
    assert seen == {(-1,), (1,), (-1, 1)}


def test_emphysema_lowers_the_diaphragm_and_leaves_the_body_alone(plan: list[Study]) -> None:
    for study in plan[:20]:
        plain, inflated = build(study, emphysema=-3, atelectasis=-3), build(study, emphysema=2.0, atelectasis=-3)
        differ = {name for name, value in asdict(plain).items() if asdict(inflated)[name] != value}
        assert differ == {"dome_right_mm", "dome_left_mm", "heart_height_mm"}
        drop = 14 * replace(study, scores={"emphysema": 2.0}).severity("emphysema")
        assert plain.dome_left_mm - inflated.dome_left_mm == pytest.approx(drop)
        assert plain.dome_right_mm - inflated.dome_right_mm == pytest.approx(drop)


def test_men_are_larger_and_differ_among_themselves(plan: list[Study]) -> None:
    width = {sex: [build(s).chest_half_width_mm for s in plan if s.sex == sex] for sex in "FM"}
    assert np.mean(width["M"]) - np.mean(width["F"]) == pytest.approx(22, abs=3)
    assert 5 < np.std(width["M"]) < 10
