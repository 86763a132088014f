"""What TRIPOD+AI and CLAIM ask a report to state: where this one states it, and what only people can add.

Items are paraphrased; the guidelines have the wording that counts. A place is a section of the report; `partly` names
what the software knows and leaves the rest to people.

Sources: Collins et al., TRIPOD+AI statement, BMJ 2024;385:e078378; Tejani et al., CLAIM 2024 update, Radiol Artif
Intell 2024;6:e240300.
"""

from typing import NamedTuple

from hyperct_pipeline.evaluation.report_tables import Table

TO_COMPLETE = "to complete"


class Item(NamedTuple):
    """One item: its guideline and number, what it asks for, and where it stands."""

    guideline: str
    number: str
    topic: str
    place: str  # section, or TO_COMPLETE
    to_add: str = ""  # what people must add


TRIPOD = (
    Item("TRIPOD+AI", "1", "Title: model development or evaluation, population, outcome", TO_COMPLETE),
    Item("TRIPOD+AI", "2", "Abstract", TO_COMPLETE),
    Item("TRIPOD+AI", "3a", "Health-care context and rationale", TO_COMPLETE),
    Item("TRIPOD+AI", "3b", "Target population and intended use", "Model card", "the care pathway and its users"),
    Item("TRIPOD+AI", "3c", "Known health inequalities between groups", TO_COMPLETE),
    Item("TRIPOD+AI", "4", "Objectives", TO_COMPLETE),
    Item(
        "TRIPOD+AI", "5a", "Sources of data for development and evaluation", "Data", "where and why they were collected"
    ),
    Item("TRIPOD+AI", "5b", "Dates of data collection", TO_COMPLETE, "dates are removed on purpose"),
    Item("TRIPOD+AI", "6a", "Setting and centres", "Data", "names of the sites, which are codes here"),
    Item("TRIPOD+AI", "6b", "Eligibility of participants", "Data", "clinical criteria; refusals are counted here"),
    Item("TRIPOD+AI", "6c", "Treatments received", TO_COMPLETE),
    Item("TRIPOD+AI", "7", "Data preparation and quality checks", "Methods"),
    Item("TRIPOD+AI", "8a", "Outcome and how it was determined", "Data", "who read the studies, with what training"),
    Item("TRIPOD+AI", "8b", "Qualification of outcome assessors", TO_COMPLETE),
    Item("TRIPOD+AI", "8c", "Blinding of outcome assessment", TO_COMPLETE),
    Item("TRIPOD+AI", "9", "Predictors: what the model sees", "Methods"),
    Item("TRIPOD+AI", "10", "Sample size and its justification", "Data", "the justification"),
    Item("TRIPOD+AI", "11", "Missing data", "Data"),
    Item("TRIPOD+AI", "12a", "Use of the data: splits by patient", "Methods"),
    Item("TRIPOD+AI", "12b", "Handling of predictors", "Methods"),
    Item("TRIPOD+AI", "12c", "Type of model, building steps, internal validation", "Methods"),
    Item("TRIPOD+AI", "12d", "Heterogeneity between clusters", "Discrimination"),
    Item("TRIPOD+AI", "12e", "Measures of performance and their justification", "Methods"),
    Item("TRIPOD+AI", "12f", "Model updating (recalibration)", "Calibration"),
    Item("TRIPOD+AI", "12g", "How predictions are calculated", "Model card"),
    Item("TRIPOD+AI", "13", "Class imbalance", "Data"),
    Item("TRIPOD+AI", "14", "Fairness: approach and subgroups", "Subgroups", "ethnicity and deprivation, unknown here"),
    Item("TRIPOD+AI", "15", "Model output and thresholds", "Discrimination"),
    Item("TRIPOD+AI", "16", "Differences between development and evaluation data", "Data"),
    Item("TRIPOD+AI", "17", "Ethical approval", TO_COMPLETE),
    Item("TRIPOD+AI", "18", "Funding, interests, protocol, registration, sharing of data and code", TO_COMPLETE),
    Item("TRIPOD+AI", "19", "Patient and public involvement", TO_COMPLETE),
    Item("TRIPOD+AI", "20a", "Flow of participants", "Data"),
    Item("TRIPOD+AI", "20b", "Characteristics of participants", "Data"),
    Item("TRIPOD+AI", "20c", "Comparison of development and evaluation data", "Data"),
    Item("TRIPOD+AI", "21", "Participants and outcome events in each analysis", "Discrimination"),
    Item("TRIPOD+AI", "22", "Full specification of the model", "Model card", "where the model package can be had"),
    Item("TRIPOD+AI", "23a", "Performance with confidence intervals", "Discrimination"),
    Item("TRIPOD+AI", "23b", "Heterogeneity of performance between clusters", "Subgroups"),
    Item("TRIPOD+AI", "24", "Results of model updating", "Calibration"),
    Item("TRIPOD+AI", "25", "Interpretation, fairness included", TO_COMPLETE),
    Item("TRIPOD+AI", "26", "Limitations", "Limitations", "those of the study's design"),
    Item("TRIPOD+AI", "27", "Usability in care, handling of poor input, next steps", TO_COMPLETE),
)
CLAIM = (
    Item("CLAIM", "1", "AI methodology named in the title or abstract", TO_COMPLETE),
    Item("CLAIM", "5", "Prospective or retrospective study", TO_COMPLETE),
    Item("CLAIM", "7", "Data sources", "Data", "how to get them"),
    Item("CLAIM", "8", "Inclusion and exclusion criteria", "Data", "clinical criteria"),
    Item("CLAIM", "9", "Preprocessing of the images", "Methods"),
    Item("CLAIM", "10", "Selection of data subsets (series, slices)", "Methods"),
    Item("CLAIM", "11", "De-identification", "Methods"),
    Item("CLAIM", "12", "Missing data", "Data"),
    Item("CLAIM", "13", "Image acquisition protocol", TO_COMPLETE, "kernels and scanners stand under Subgroups"),
    Item("CLAIM", "14", "Definition of the reference standard", "Data"),
    Item("CLAIM", "15", "Rationale of the reference standard", TO_COMPLETE),
    Item("CLAIM", "16", "Source of the reference annotations", "Data", "qualification of the readers"),
    Item("CLAIM", "18", "Variability of the annotations", TO_COMPLETE),
    Item("CLAIM", "19", "Level at which partitions are disjoint", "Methods"),
    Item("CLAIM", "21", "Sample size", "Data", "its justification"),
    Item("CLAIM", "22", "Detailed description of the model", "Model card"),
    Item("CLAIM", "23", "Software libraries and versions", "Methods"),
    Item("CLAIM", "24", "Initialisation of the parameters", "Model card"),
    Item("CLAIM", "25", "Training: hyperparameters, number of models", "Training"),
    Item("CLAIM", "26", "Choice of the final model", "Training"),
    Item("CLAIM", "28", "Metrics of performance", "Methods"),
    Item("CLAIM", "29", "Statistical uncertainty", "Methods"),
    Item("CLAIM", "30", "Robustness and sensitivity", "Subgroups"),
    Item("CLAIM", "31", "Explainability and how it was checked", "Saliency"),
    Item("CLAIM", "32", "Evaluation on internal data", "Discrimination"),
    Item("CLAIM", "33", "Testing on external data", "Discrimination", "which cohort is external, and why"),
    Item("CLAIM", "35", "Flow of participants", "Data"),
    Item("CLAIM", "36", "Demographic and clinical characteristics", "Data", "clinical characteristics"),
    Item("CLAIM", "37", "Performance on all partitions", "Discrimination"),
    Item("CLAIM", "38", "Estimates of accuracy with their precision", "Discrimination"),
    Item("CLAIM", "39", "Failure analysis", "Failure cases", "a reader's look at the cases"),
    Item("CLAIM", "40", "Limitations", "Limitations"),
    Item("CLAIM", "41", "Implications for practice", TO_COMPLETE),
    Item("CLAIM", "44", "Funding and role of funders", TO_COMPLETE),
)


def checklist_table() -> Table:
    """All items; where software can state one, the section that does, else `to complete`."""
    rows = [[f"{item.guideline} {item.number}", item.topic, _where(item)] for item in (*TRIPOD, *CLAIM)]
    return Table("TRIPOD+AI and CLAIM", ["Item", "Topic", "Where"], rows)


def _where(item: Item) -> str:
    if item.place == TO_COMPLETE:
        return f"{TO_COMPLETE} ({item.to_add})" if item.to_add else TO_COMPLETE
    return f"{item.place}; {TO_COMPLETE}: {item.to_add}" if item.to_add else item.place
