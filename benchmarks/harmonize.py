"""Harmonizing 100,000 studies of 25 tasks with 200,000 echo rows, against row-by-row evaluation with pandas.query.

Prints the seconds and the peak memory of the whole harmonization (reading, pairing, rules, splits, long table), and how
long the same seven cardiac rules alone take row by row as a query on a frame of one row each, measured on a sample and
scaled up.

    python benchmarks/harmonize.py [--studies 100000] [--echoes 200000] [--sample 300]
"""

import argparse
import datetime
import resource
import time
from pathlib import Path

import numpy as np
import pandas as pd
import yaml

from hyperct_pipeline.labels.intervals import Intervals, Reason
from hyperct_pipeline.labels.rules import evaluate
from hyperct_pipeline.labels.sources import load_sources
from hyperct_pipeline.labels.study_index import HarmonizeConfig, harmonize_all
from hyperct_pipeline.labels.tasks import TaskCatalogue, load_catalogue
from hyperct_pipeline.pseudonyms import DEMO_SECRET, Pseudonyms

CONF = Path(__file__).parents[1] / "conf" / "base"
PSEUDONYMS = Pseudonyms(DEMO_SECRET)
RULES = (
    "rv > 2", "lvef < 50", "pasp > 35", "lavi > 35", "(sex == 0 and lvidd > 5.3) or (sex == 1 and lvidd > 5.9)",
    "ea >= 2 or lavi > 35 or tr > 2.8", "tr > 3.4",
)  # fmt: skip


def findings(n: int, names: list[str], generator: np.random.Generator) -> pd.DataFrame:
    cells = generator.choice(["0", "1", ""], size=(n, len(names)), p=[0.7, 0.25, 0.05])
    table = pd.DataFrame(cells, columns=[name.replace("_", " ").capitalize() for name in names])
    table.insert(0, "VolumeName", [f"train_{k}_a_1.nii.gz" for k in range(n)])
    return table


def echoes(n: int, n_patients: int, generator: np.random.Generator) -> pd.DataFrame:
    def spelled(values: np.ndarray, unit: str) -> np.ndarray:
        forms = [f"{{0}} {unit}", "~{0}", "{0}-{1}", "not measured", "", "see comment", ">{0}"]
        chosen = generator.choice(len(forms) + 1, n, p=[0.1, 0.05, 0.05, 0.02, 0.05, 0.01, 0.02, 0.7])
        texts = [str(v) if c == len(forms) else forms[c].format(v, v + 5) for v, c in zip(values, chosen, strict=True)]
        return np.array(texts, object)

    days = generator.integers(-300, 300, n)
    start = datetime.date(2023, 6, 1)
    words = ["normal", "WNL", "mildly reduced", "severely reduced", "low normal", "RV not well seen", "paced"]
    return pd.DataFrame(
        {
            "patient_id": [f"train_{k}" for k in generator.integers(0, n_patients, n)],
            "echo_date": [(start + datetime.timedelta(days=int(d))).isoformat() for d in days],
            "test_type": generator.choice(["TTE", "stress", "TEE"], n, p=[0.9, 0.06, 0.04]),
            "ECHO_lvef_value": spelled(generator.integers(15, 75, n), "%"),
            "ECHO_pasp_value": spelled(generator.integers(15, 90, n), "mmHg"),
            "ECHO_tr_max_velocity_value": spelled(generator.normal(2.6, 0.5, n).clip(0.8, 5).round(2), "m/s"),
            "ECHO_la_volume_index_value": spelled(generator.normal(33, 9, n).clip(10, 90).round(1), "mL/m2"),
            "ECHO_lv_d_measurement": spelled(generator.normal(5, 0.7, n).clip(3, 9).round(2), "cm"),
            "ECHO_e_a_ratio": generator.normal(1.2, 0.5, n).clip(0.3, 5).round(2).astype(str),
            "ECHO_rv_systolic_function_value": generator.choice(words, n),
            "Patients_Sex": generator.choice(["Male", "F"], n),
        }
    )


def archive(n: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    patients = [PSEUDONYMS.patient_key(f"train_{k}") for k in range(n)]
    manifest = pd.DataFrame(
        {
            "study_key": [PSEUDONYMS.study_key(f"1.2.{k}") for k in range(n)],
            "patient_key": patients,
            "accession_key": [PSEUDONYMS.accession_key(f"train_{k}_a") for k in range(n)],
            "day": [PSEUDONYMS.day(patient, datetime.date(2023, 6, 1)) for patient in patients],
            "status": "converted",
            "reason_codes": "",
        }
    )
    cohorts = pd.DataFrame({"id": [f"train_{k}" for k in range(n)]}).assign(
        id_type="patient_id", site="A", cohort="development", split="", sex="", age_years="60"
    )
    cohorts["split"] = np.where(np.arange(n) % 5 < 4, np.where(np.arange(n) % 5 == 0, "validation", "train"), "")
    return manifest, cohorts


def rules_alone(n: int, catalogue: TaskCatalogue, generator: np.random.Generator) -> float:
    """Seconds that all rules of the catalogue take for n studies whose values are read already."""
    values = {}
    for name in {name for task in catalogue.tasks for name in task.inputs}:
        quantity = catalogue.quantities.get(name)
        top = quantity.valid[1] if quantity and quantity.valid else len(quantity.levels) - 1 if quantity else 1
        low = generator.uniform(0, top, n).round(0 if top <= 5 else 1)
        closed = np.zeros(n, bool)
        values[name] = Intervals(low, low, closed, closed, np.full(n, Reason.MEASURED, np.int8))
    started = time.perf_counter()
    for task in catalogue.tasks:
        evaluate(task.rule, values, n)
    return time.perf_counter() - started


def row_by_row(n: int, generator: np.random.Generator) -> float:
    """Seconds that the seven rules take for n studies, one query per row and rule."""
    names = ("rv", "lvef", "pasp", "lavi", "lvidd", "ea", "tr")
    table = pd.DataFrame(generator.uniform(0, 60, (n, len(names))), columns=list(names))
    table["sex"] = generator.integers(0, 2, n)
    started = time.perf_counter()
    for k in range(n):
        row = table.iloc[[k]]
        for rule in RULES:
            len(row.query(rule))
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--studies", type=int, default=100_000)
    parser.add_argument("--echoes", type=int, default=200_000)
    parser.add_argument("--sample", type=int, default=300)
    options = parser.parse_args()
    generator = np.random.default_rng(0)
    catalogue = load_catalogue(yaml.safe_load((CONF / "parameters_tasks.yml").read_text(encoding="utf-8")))
    sources = load_sources(yaml.safe_load((CONF / "parameters_sources.yml").read_text(encoding="utf-8")), catalogue)
    tables = {
        "ct_rate": findings(options.studies, list(catalogue.findings), generator),
        "hyperct_wide": echoes(options.echoes, options.studies, generator),
    }
    manifest, cohorts = archive(options.studies)
    started = time.perf_counter()
    result = harmonize_all(tables, cohorts, PSEUDONYMS, manifest, pd.DataFrame(), catalogue, sources, HarmonizeConfig())
    seconds = time.perf_counter() - started
    peak_gb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    known = int(result.index[list(catalogue.ids)].notna().sum().sum())
    print(f"{options.studies} studies, {options.echoes} echo rows: {seconds:.1f} s, peak {peak_gb:.2f} GB")
    print(f"long table {len(result.labels)} rows, {known} known labels in the index")
    alone = rules_alone(options.studies, catalogue, generator)
    naive = row_by_row(options.sample, generator) / options.sample * options.studies
    print(f"the 25 rules alone on all studies: {alone:.2f} s")
    print(
        f"7 rules row by row (scaled from {options.sample} studies): {naive:.0f} s; "
        f"{naive / alone:.0f} times our 25 rules, {naive / seconds:.0f} times our whole harmonization"
    )


if __name__ == "__main__":
    main()
