"""No identifier of the raw archive, in whatever form, is found in anything that the commands leave behind."""

import datetime
import gzip
import io
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pydicom
import pytest

pytestmark = pytest.mark.slow

IDENTIFYING = (
    "PatientID",
    "PatientName",
    "AccessionNumber",
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "FrameOfReferenceUID",
)
DATES = ("StudyDate", "SeriesDate", "PatientBirthDate")
SHORTEST = 7  # characters; shorter texts are found by chance


def of_images(archive: Path) -> tuple[set[str], set[str]]:
    """Identifiers, and dates as YYYYMMDD, of one image per folder, whatever its name."""
    texts, dates = set(), set()
    for folder in (path for path in archive.rglob("*") if path.is_dir()):
        for file in sorted(path for path in folder.iterdir() if path.is_file())[:1]:
            header = pydicom.dcmread(file, stop_before_pixels=True, force=True)
            texts |= {str(header.get(tag, "")) for tag in IDENTIFYING}
            dates |= {str(header.get(tag, "")) for tag in DATES}
    return texts, {date for date in dates if re.fullmatch(r"\d{8}", date)}


def of_tables(labels: Path) -> tuple[set[str], set[str]]:
    """Identifiers and dates of all label tables."""
    texts, dates = set(), set()
    for file in labels.glob("*.csv"):
        table = pd.read_csv(file, dtype=str, keep_default_na=False)
        for column in table:
            if re.fullmatch(r"id|patient_id|accession_number|study_instance_uid|VolumeName", column):
                texts |= set(table[column]) | set(table[column].str.removesuffix(".nii.gz"))
            if "date" in column:
                dates |= set(pd.to_datetime(table[column], errors="coerce").dropna().dt.strftime("%Y%m%d"))
    return texts, dates


def written_forms(date: str) -> Iterator[str]:
    """A date as DICOM, ISO, German, British and American tables write it."""
    day = datetime.datetime.strptime(date, "%Y%m%d")
    for form in ("%Y%m%d", "%Y-%m-%d", "%Y/%m/%d", "%d.%m.%Y", "%d/%m/%Y", "%m/%d/%Y"):
        yield day.strftime(form)


def content(file: Path) -> bytes:
    """What can be read in a file: tables decoded, headers of compressed volumes unpacked."""
    if file.suffix == ".parquet":
        return pd.read_parquet(file).to_csv().encode() + file.read_bytes()
    if file.suffix == ".gz":
        with gzip.open(file) as stream:
            return stream.read(352)  # header and extensions; what follows are voxels
    if file.suffix in {".npy", ".safetensors"}:
        data = file.read_bytes()
        return data[:4096] + data[-65536:]  # descriptions; between them are numbers
    return file.read_bytes()


def left_behind(chain: Any) -> Iterator[tuple[str, bytes]]:
    raw = chain.data / "01_raw"
    for root in (chain.data, chain.folder / "mlartifacts", chain.folder / "mlflow.db", chain.folder / ".viz"):
        for file in [root] if root.is_file() else sorted(root.rglob("*")):
            if file.is_file() and not file.is_relative_to(raw):
                name = file.relative_to(chain.folder).as_posix()
                yield name, name.encode() + b"\n" + content(file)
    yield "printed by the commands", "\n".join(chain.printed).encode()


def test_identifiers_of_both_sites_are_known(chain: Any) -> None:
    for site in ("site_a", "site_b"):
        texts, dates = of_images(chain.data / "01_raw/phantom/dicom" / site)
        assert len(texts) > 50
        assert len(dates) > 10


def test_no_identifier_leaves_the_raw_layer(chain: Any) -> None:
    raw = chain.data / "01_raw/phantom"
    texts, dates = (a | b for a, b in zip(of_images(raw / "dicom"), of_tables(raw / "labels"), strict=True))
    texts |= {form for date in dates for form in written_forms(date)}
    secrets = [text.encode() for text in sorted(texts) if len(text) >= SHORTEST]
    assert len(secrets) > 500
    checked = 0
    for name, data in left_behind(chain):
        # digits within a longer number or word are chance
        hits = [s for s in secrets if s in data and re.search(rb"(?<![\w.])" + re.escape(s) + rb"(?!\w)", data)]
        assert not hits, f"{name} holds {len(hits)} identifiers of the raw archive"
        checked += 1
    assert checked > 200


def test_a_planted_identifier_would_be_found(chain: Any, tmp_path: Path) -> None:
    frame = pd.DataFrame({"study_key": ["k"], "note": ["seen 2019-01-10"]})
    frame.to_parquet(tmp_path / "t.parquet", compression="zstd")
    assert b"2019-01-10" in content(tmp_path / "t.parquet")
    buffer = io.BytesIO()
    with gzip.GzipFile(fileobj=buffer, mode="wb") as stream:
        stream.write(b"x" * 200 + b"DOE^JOHN" + b"\0" * 200)
    (tmp_path / "v.nii.gz").write_bytes(buffer.getvalue())
    assert b"DOE^JOHN" in content(tmp_path / "v.nii.gz")


def test_neither_the_secret_nor_the_folder_of_the_archive_is_logged_at_debug(chain: Any, tmp_path: Path) -> None:
    """Kedro's tracing of hooks writes down all arguments of all hooks at DEBUG."""
    raw = chain.data / "01_raw/phantom/dicom/site_a"
    folder = tmp_path / "CANARY^FOLDER"
    shutil.copytree(min(path for path in raw.iterdir() if path.is_dir()), folder / "study")
    logging = tmp_path / "logging.yml"
    logging.write_text((chain.folder / "conf/logging.yml").read_text().replace("INFO", "DEBUG"))
    parameters = f"dicom_root={folder},data_root={tmp_path / 'out'},convert.min_slices=3,write_crosswalk=true"
    secret = "canary-secret-of-more-than-32-characters"
    printed = chain.run(
        "kedro", "run", "--pipelines=convert", f"--params={parameters}",
        KEDRO_LOGGING_CONFIG=str(logging), HYPERCT_SECRET=secret,
    )  # fmt: skip
    assert "DEBUG" in printed
    chain.printed.pop()  # the canary in it, if any, is this test's
    assert "CANARY^FOLDER" not in printed and secret not in printed
