from typing import Any

import pytest
from pydantic import TypeAdapter

from hyperct_pipeline.errors import ConfigError
from hyperct_pipeline.labels.rules import Compare
from hyperct_pipeline.labels.tasks import TaskCatalogue, TaskCatalogueConfig, load_catalogue


def rewritten(config: dict[str, Any], rule: Any) -> dict[str, Any]:
    config["hyperct"]["tasks"]["ventricular_enlargement"]["positive_when"] = rule
    return config


def test_ships_18_radiological_and_7_cardiac_tasks(catalogue: TaskCatalogue) -> None:
    groups = [catalogue.group_of(task) for task in catalogue.ids]
    assert (groups.count("radiological"), groups.count("cardiac")) == (18, 7)
    assert catalogue.name_of("lung_nodule") == "Lung nodule"
    assert len(catalogue.findings) == 18


def test_units_are_converted_once(catalogue_yaml: dict[str, Any]) -> None:
    tasks = load_catalogue(rewritten(catalogue_yaml, "lvidd > 53 mm")).tasks
    assert next(t.rule for t in tasks if t.id == "ventricular_enlargement") == Compare("lvidd", ">", 5.3)


def test_subset_keeps_the_order_given(catalogue_yaml: dict[str, Any]) -> None:
    catalogue_yaml["tasks"] = ["pulmonary_hypertension", "emphysema"]
    assert load_catalogue(catalogue_yaml).ids == ("pulmonary_hypertension", "emphysema")


def test_unknown_task_names_the_nearest(catalogue_yaml: dict[str, Any]) -> None:
    catalogue_yaml["tasks"] = ["lung_nodul"]
    with pytest.raises(ConfigError, match=r"unknown task 'lung_nodul'; nearest known: 'lung_nodule'"):
        load_catalogue(catalogue_yaml)


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ("lvidd > 53", "'lvidd' has the unit cm: write it"),
        ("lvidd > 5.3 kg", "'kg' cannot be converted to 'cm'"),
        ("lvidd > 5.3 furlongz", "'furlongz' is no unit"),
        ("lvid > 5.3 cm", "unknown quantity 'lvid'"),
        ("rv_function in bad", "no group or level 'bad'"),
        ("rv_function > 3", "is a grade without a number"),
        ("__import__('os')", "a rule is one of"),
        ("lvidd > 5.3 m**99", "'m**99' is no unit"),
        ("lvef < 500 percent", "outside the plausible range of 'lvef' (5 to 90 percent)"),
        ({"none_of": []}, "a rule is one of"),
        ({"any_of": []}, "needs a list of rules"),
        ({"by": "sex", "F": "lvidd > 5.3 cm"}, "by: sex needs a rule under F and one under M; M is missing"),
        ({"by": "sex", "F": "lvidd > 5 cm", "M": "lvidd > 5 cm", "Z": "lvidd > 5 cm"}, "'Z' is neither"),
        ({"by": "race", "A": "lvidd > 5.3 cm"}, "by: 'race' is unknown; rules can differ by sex alone"),
    ],
)
def test_impossible_rule_is_refused_with_its_key(catalogue_yaml: dict[str, Any], rule: Any, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_catalogue(rewritten(catalogue_yaml, rule))
    assert message in str(caught.value)
    assert "hyperct.tasks.ventricular_enlargement.positive_when" in str(caught.value)


def test_all_errors_are_listed_at_once(catalogue_yaml: dict[str, Any]) -> None:
    config = rewritten(catalogue_yaml, "lvidd > 53")
    config["quantities"]["pasp"]["unit"] = "mmHgg"
    config["derivations"]["la_volume_index"] = "la_volume * bsa"
    config["tasks"] = ["emphysemaa"]
    with pytest.raises(ConfigError) as caught:
        load_catalogue(config)
    for part in ("quantities.pasp", "derivations.la_volume_index", "tasks: unknown task", "has the unit cm"):
        assert part in str(caught.value)


def test_both_sets_hold_every_task_with_a_reference(catalogue: TaskCatalogue) -> None:
    assert set(catalogue.sets) == {"hyperct", "ase_2025"}
    for name in catalogue.sets:
        other = catalogue.under(name)
        assert (other.definition_set, other.ids) == (name, catalogue.ids)
        assert all(task.reference and task.name for task in other.tasks)


def test_a_set_of_ones_own_is_one_more_key(catalogue_yaml: dict[str, Any]) -> None:
    own = {"description": "ours", "tasks": {"emphysema": catalogue_yaml["hyperct"]["tasks"]["emphysema"]}}
    config = catalogue_yaml | {"ours_2027": own, "definition_set": "ours_2027"}
    assert load_catalogue({"task_catalogue": config}).ids == ("emphysema",)


def test_unknown_key_and_definition_set_are_refused(catalogue_yaml: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="definition_set: unknown set 'hyperkt'; nearest known: 'hyperct'"):
        load_catalogue({**catalogue_yaml, "definition_set": "hyperkt"})
    with pytest.raises(ConfigError, match="thresholds"):
        load_catalogue({**catalogue_yaml, "thresholds": 1})


def test_the_catalogue_is_made_from_keyword_arguments_too(catalogue_yaml: dict[str, Any]) -> None:
    """Kedro-Viz checks parameters by calling the class with the keys of the file."""
    assert TaskCatalogueConfig(**catalogue_yaml) == TypeAdapter(TaskCatalogueConfig).validate_python(catalogue_yaml)
