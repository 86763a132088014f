from collections import Counter
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from pydantic import TypeAdapter, ValidationError

from hyperct_pipeline.phantom.cohort import (
    BROKEN,
    LOADINGS,
    PREVALENCE,
    SCORES,
    SITE_OF,
    PhantomConfig,
    Study,
    plan_studies,
)


def test_counts_are_those_of_the_settings(plan: list[Study]) -> None:
    intact = Counter(s.cohort for s in plan if not s.broken)
    assert intact == {
        "development": 230, "internal_test": 46, "external_test": 46, "prospective_a": 46, "prospective_b": 46
    }  # fmt: skip
    assert sorted(s.broken for s in plan if s.broken) == sorted(BROKEN)
    assert sum(not s.labelled for s in plan) == 4


@pytest.mark.parametrize("finding", PREVALENCE)
def test_every_cohort_has_the_same_prevalence(plan: list[Study], finding: str) -> None:
    for cohort in SITE_OF:
        present = [s.severity(finding) > 0 for s in plan if s.cohort == cohort]
        assert abs(sum(present) - PREVALENCE[finding] * len(present)) <= 1.5
        assert cohort == "development" or sum(present) >= 10


def test_findings_occur_together_but_are_no_copies(plan: list[Study]) -> None:
    scores = np.array([[s.scores[name] for name in SCORES] for s in plan])
    correlation = np.corrcoef(scores.T) - np.eye(len(SCORES))
    assert 0.3 < correlation.max() < 0.7
    effusion, collapse = SCORES.index("pleural_effusion"), SCORES.index("atelectasis")
    assert correlation[effusion, collapse] > 0.1
    ages = [s.age_years for s in plan]
    assert np.corrcoef(ages, scores[:, SCORES.index("arterial_wall_calcification")])[0, 1] > 0.4


def test_no_score_is_explained_by_its_causes_alone() -> None:
    assert all(sum(v**2 for v in loading) < 0.65 for loading in LOADINGS.values())
    assert set(LOADINGS) == set(SCORES)


def test_a_patient_stays_in_one_cohort_and_ids_are_unique(plan: list[Study]) -> None:
    cohort_of: dict[str, set[str]] = {}
    for study in plan:
        cohort_of.setdefault(study.patient_id, set()).add(study.cohort)
    assert all(len(cohorts) == 1 for cohorts in cohort_of.values())
    assert len({s.accession_number for s in plan}) == len(plan)
    assert len(plan) - len(cohort_of) == pytest.approx(0.08 * len(plan), abs=3)
    assert [s.index for s in plan] == list(range(len(plan)))


def test_the_second_study_of_a_patient_is_later_and_alike(plan: list[Study]) -> None:
    pairs = [(a, b) for a, b in pairwise(plan) if a.patient_id == b.patient_id]
    assert all((b.date - a.date).days > 400 for a, b in pairs)
    assert all(a.patient_index == b.patient_index and a.sex == b.sex for a, b in pairs)
    first, second = ([p[k].scores["emphysema"] for p in pairs] for k in (0, 1))
    assert np.corrcoef(first, second)[0, 1] > 0.6


def test_severity_starts_at_the_cut(plan: list[Study]) -> None:
    def severity(score: float) -> float:
        return replace(plan[0], scores={"emphysema": score}).severity("emphysema")

    cut = 0.4124631294  # normal quantile of 1 - 0.34
    assert severity(cut - 1e-6) == 0
    assert severity(cut + 1e-6) == pytest.approx(0.35, abs=1e-3)
    assert 0.9 < severity(4) <= 1


def test_a_plan_follows_its_seed() -> None:
    small = PhantomConfig(n_development=12, n_internal_test=4, n_external_test=4, n_prospective_a=0, n_prospective_b=0)
    assert plan_studies(small) == plan_studies(small)
    other = plan_studies(replace(small, seed=7))
    assert [s.scores for s in other] != [s.scores for s in plan_studies(small)]


def test_an_empty_plan_has_no_studies() -> None:
    none = dict.fromkeys((f"n_{c}" for c in SITE_OF), 0)
    assert plan_studies(PhantomConfig(**none, n_broken=0)) == []


@pytest.mark.parametrize("wrong", [{"n_studies": 3}, {"share_thin": 1.5}, {"matrix": 8}, {"n_workers": 0}])
def test_impossible_settings_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter(PhantomConfig).validate_python(wrong)
