"""The project's Kedro datasets: everything that stands between a node and the disk."""

from hyperct_pipeline.datasets.checkpoints import CheckpointFolder, ModelPackageFolder, TaskAdapterFolder
from hyperct_pipeline.datasets.figure import FigureFile
from hyperct_pipeline.datasets.file_folder import FileFolder
from hyperct_pipeline.datasets.nifti_folder import NiftiFolder
from hyperct_pipeline.datasets.optional_json import OptionalJsonDocument
from hyperct_pipeline.datasets.predictions_table import PredictionsTable
from hyperct_pipeline.datasets.private_table import PrivateTable
from hyperct_pipeline.datasets.raw_input import ArchiveFolder, RawTable, RawTables
from hyperct_pipeline.datasets.record_folder import RecordFolder
from hyperct_pipeline.datasets.secret import PseudonymSecret
from hyperct_pipeline.datasets.study_table import StudyTable
from hyperct_pipeline.datasets.volume_store import VolumeStoreFolder
from hyperct_pipeline.datasets.whole_file import CalibrationDocument, CsvTable, JsonDocument, TextDocument

__all__ = [
    "ArchiveFolder",
    "CalibrationDocument",
    "CheckpointFolder",
    "CsvTable",
    "FigureFile",
    "FileFolder",
    "JsonDocument",
    "ModelPackageFolder",
    "NiftiFolder",
    "OptionalJsonDocument",
    "PredictionsTable",
    "PrivateTable",
    "PseudonymSecret",
    "RawTable",
    "RawTables",
    "RecordFolder",
    "StudyTable",
    "TaskAdapterFolder",
    "TextDocument",
    "VolumeStoreFolder",
]
