"""Reason codes: why a series or study was refused, and what a person can do about it."""

from hyperct_pipeline.study_workers import FAILURE_REMEDIES

REMEDIES: dict[str, str] = {
    # selection
    "NOT_CT": "Not a CT image; nothing to do unless the modality tag is wrong.",
    "LOCALIZER": "A scout image is no volume; export the axial series too.",
    "DERIVED": "Reformatted or processed images; export the original axial series.",
    "NOT_AXIAL": "Coronal, sagittal or oblique slices; export the axial series.",
    "MULTIFRAME": "Enhanced multi-frame images are not supported; export classic single-frame CT.",
    "NO_GEOMETRY": "Position, orientation or pixel spacing is missing; export the original images.",
    "TOO_FEW_SLICES": "Fewer slices than convert.min_slices; export the whole series or lower it.",
    "SHORT_Z_EXTENT": "Shorter than convert.min_z_extent_mm; export the whole chest or lower it.",
    "NOT_CHEST": "Header names another body part; extend the vocabulary in parameters_convert.yml if wrong.",
    "CONTRAST": "Contrast was given; set convert.allow_contrast=true to accept such scans.",
    "NO_USABLE_SERIES": "No series of the study can be used; the reasons of each stand in series_index.",
    "EXCLUDED": "The study or series is on the exclusion list.",
    "UNREADABLE_FOLDER": "A folder of the archive cannot be opened; give read permission and run again.",
    "UNREADABLE_FILES": "No DICOM file of a folder can be read; copy it again or give read permission.",
    "NIFTI_UNREADABLE": "The NIfTI file is damaged; copy or download it again.",
    "NIFTI_MISSING": "The table names a volume that is not in the folder; copy it there.",
    "NIFTI_TWICE": "Several files of the folder have this name; leave one.",
    "NOT_3D": "The NIfTI file holds more or less than one volume; split it.",
    # ranking
    "OVERRIDDEN": "The override table names another series of the study.",
    "THICK": "A series with spacing nearer to convert.target_spacing_mm was chosen.",
    "THIN": "A series with spacing nearer to convert.target_spacing_mm was chosen.",
    "KERNEL_LUNG": "A series with a soft kernel was chosen.",
    "FEWER_SLICES": "A series with more slices was chosen.",
    "NOT_CHOSEN": "An equal series was chosen.",
    # header gate
    "SOP_CONFLICT": "Two different images carry one SOPInstanceUID; export the series again.",
    "NO_PIXEL_DATA": "At least one file has no pixels; export the series again with images.",
    "TRUNCATED_FILE": "At least one file is cut short; copy the series again.",
    "UNSUPPORTED_TRANSFER_SYNTAX": "The compression is not supported; export uncompressed or as JPEG-LS.",
    "NOT_GREYSCALE": "Colour images; export the original CT images.",
    "MIXED_PATIENTS": "One study or series holds several patient ids; correct it at the source.",
    "BAD_PIXEL_FORMAT": "Bits, matrix, compression and length of the pixels contradict each other; export it again.",
    "MIXED_RECONSTRUCTIONS": "One series holds several reconstruction kernels; export them separately.",
    "MATRIX_VARIES": "Images of one series differ in matrix size; export the series again.",
    "PIXEL_SPACING_VARIES": "Images of one series differ in pixel spacing; export the series again.",
    "NO_RESCALE": "Rescale slope or intercept is missing, so values are no HU; export the original images.",
    "BAD_RESCALE": "Rescale slope or intercept cannot belong to HU; export the original images.",
    "RESCALE_NOT_HU": "Values are declared as something other than HU; export the original images.",
    "ORIENTATION_VARIES": "Images of one series differ in orientation; export the original images.",
    "BAD_ORIENTATION": "Direction cosines are not orthogonal unit vectors; export the original images.",
    "DUPLICATE_POSITION": "Several images lie at one position; export one reconstruction per series.",
    "MISSING_SLICE": "Slices are missing; export the whole series, or set convert.gate.max_interpolated_slices.",
    "VARIABLE_SPACING": "Slice spacing changes within the series; export an equally spaced reconstruction.",
    "GANTRY_TILT": "The gantry was tilted; export an untilted reconstruction.",
    "POSITION_WANDERS": "Slices do not lie in one line; export the original images.",
    # decoding
    "FILE_UNREADABLE": "A file vanished or may not be read; check the archive and run again.",
    "FILE_CHANGED": "A file changed while the archive was read; run again when the archive is at rest.",
    "CODESTREAM_MISMATCH": "A compressed image has another size than its header says; export the series again.",
    "DECODE_FAILED": "Pixels could not be decoded; copy or export the series again.",
    "CROSS_CHECK_FAILED": "Two decoders disagree about the pixels; export the series uncompressed.",
    "HU_OUT_OF_RANGE": "Values do not fit 16-bit HU; the rescale tags cannot be right.",
    "HU_IMPLAUSIBLE": "No air or no tissue among the values; the rescale is missing, apply slope and intercept.",
    "GEOMETRY_MISMATCH": "The volume does not lie where the headers put it; please report this as a fault.",
    "OUTPUT_UNWRITABLE": "The volume could not be written; make room on the disk of data_root and run again.",
    **FAILURE_REMEDIES,
    "WORKER_CRASHED": "Decoding took its process down; export the series uncompressed. It is tried again next time.",
}


def message_of(reasons: list[str]) -> str:
    """What to do about the first reason that names a cause, blank where there is none."""
    causes = [reason for reason in reasons if reason != "NO_USABLE_SERIES"] or reasons
    return REMEDIES[causes[0]] if causes else ""
