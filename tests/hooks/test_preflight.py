"""Missing inputs are found before any node, all at once."""

from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
from kedro.framework.project import configure_project
from kedro.io import DataCatalog, MemoryDataset

from hyperct_pipeline.datasets import (
    ArchiveFolder,
    CsvTable,
    FigureFile,
    JsonDocument,
    ModelPackageFolder,
    OptionalJsonDocument,
    RawTable,
    RawTables,
    StudyTable,
)
from hyperct_pipeline.errors import ConfigError, MissingInputError
from hyperct_pipeline.hooks import PreflightHook
from hyperct_pipeline.model.settings import BackboneConfig


def check(catalog: DataCatalog, *inputs: str) -> None:
    hook = PreflightHook()
    required = {"metadata": {"required_input": True}}
    hook.after_catalog_created({"archive": required, "cohorts": required, "labels": required, "other": {}}, {})
    hook.before_pipeline_run(SimpleNamespace(inputs=lambda: set(inputs), all_outputs=set, nodes=[]), catalog)


CATALOG = DataCatalog(
    {"archive": ArchiveFolder(None), "cohorts": RawTable(None, "cohorts"), "labels": RawTables({"a": {"path": ""}})}
)


def test_what_is_missing_is_listed_at_once() -> None:
    with pytest.raises(MissingInputError) as caught:
        check(CATALOG, "archive", "cohorts", "labels", "other")
    first, *missing = str(caught.value).splitlines()
    assert first == "3 inputs are missing."
    assert [line.split("(")[0] for line in missing] == [
        "- The DICOM archive ",
        "- The table 'cohorts' was not given. Either name it with `--params=cohorts=PATH`, or write the synthetic "
        "archive with `kedro run --pipeline=phantom`.",
        "- No label table was given. Name at least one with `--params=labels.<source>=PATH` ",
    ]


def test_only_what_the_run_reads_is_looked_at() -> None:
    check(CATALOG, "other")
    with pytest.raises(MissingInputError, match=r"^The table 'cohorts' was not given"):
        check(CATALOG, "cohorts")


@pytest.mark.parametrize(
    ("tag", "weights", "fails"),
    [("fit", "nowhere.pth", True), ("fit", "random", False), ("convert", "nowhere.pth", False)],
)
def test_weights_are_looked_for_before_a_training(tag: str, weights: str, fails: bool) -> None:
    pipeline = SimpleNamespace(inputs=set, all_outputs=set, nodes=[SimpleNamespace(tags={tag})])
    catalog = DataCatalog({"params:backbone": MemoryDataset(BackboneConfig(weights=weights))})
    hook = PreflightHook()
    hook.after_catalog_created({}, {})
    if not fails:
        hook.before_pipeline_run(pipeline, catalog)
        return
    with pytest.raises(MissingInputError, match="no weight file at nowhere"):
        hook.before_pipeline_run(pipeline, catalog)


def test_a_table_of_an_earlier_stage_is_looked_for_and_its_maker_named(tmp_path: Path) -> None:
    configure_project("hyperct_pipeline")
    tables = {name: StudyTable(str(tmp_path / f"{name}.parquet")) for name in ("quality_table", "study_index")}
    catalog = DataCatalog(tables | {"optional": StudyTable(str(tmp_path / "o.parquet"), optional=True)})
    hook = PreflightHook()
    hook.after_catalog_created({}, {})
    with pytest.raises(MissingInputError) as caught:
        hook.before_pipeline_run(
            SimpleNamespace(inputs=lambda: {*tables, "optional"}, all_outputs=set, nodes=[]), catalog
        )
    assert str(caught.value).splitlines()[1:] == [
        "- quality_table does not exist in this data_root yet: `kedro run --pipeline=quality` makes it.",
        "- study_index does not exist in this data_root yet: `kedro run --pipeline=harmonize` makes it.",
    ]
    tables["quality_table"].save(pd.DataFrame({"study_key": ["a"]}))
    hook.before_pipeline_run(
        SimpleNamespace(inputs=lambda: {"quality_table", "optional"}, all_outputs=set, nodes=[]), catalog
    )


def test_documents_of_one_stage_are_named_together(tmp_path: Path) -> None:
    configure_project("hyperct_pipeline")
    catalog = DataCatalog(
        {
            "calibration": JsonDocument(filepath=str(tmp_path / "calibration.json")),
            "model_card": JsonDocument(filepath=str(tmp_path / "card.json")),
            "metrics_full": CsvTable(filepath=str(tmp_path / "metrics_full.csv")),
            "auroc_figure": FigureFile(str(tmp_path / "auroc.png")),
            "decision_curve_figures": FigureFile(str(tmp_path / "decision_curves")),
            "training_run": OptionalJsonDocument(filepath=str(tmp_path / "mlflow.json")),
        }
    )
    hook = PreflightHook()
    hook.after_catalog_created({}, {})
    with pytest.raises(MissingInputError) as caught:
        hook.before_pipeline_run(
            SimpleNamespace(inputs=lambda: set(catalog.keys()), all_outputs=set, nodes=[]), catalog
        )
    assert str(caught.value).splitlines()[1:] == [
        "- auroc_figure, decision_curve_figures and metrics_full do not exist in this data_root yet: "
        "`kedro run --pipeline=assess` makes them.",
        "- calibration and model_card do not exist in this data_root yet: `kedro run --pipeline=predict` makes them.",
    ]


def test_a_named_model_is_read_and_never_trained_over(tmp_path: Path) -> None:
    named = ModelPackageFolder(str(tmp_path / "other"), named="other")
    hook = PreflightHook()
    hook.after_catalog_created({}, {})
    trains = SimpleNamespace(inputs=set, all_outputs=lambda: {"model_package"}, nodes=[])
    with pytest.raises(ConfigError, match="names a model to be read, but this run trains one"):
        hook.before_pipeline_run(trains, DataCatalog({"model_package": named}))
    hook.before_pipeline_run(trains, DataCatalog({"model_package": ModelPackageFolder(str(tmp_path / "best"))}))
