"""Every error that a user can cause, in one tree: what, where, expected against found, what to do next."""


class HyperctError(Exception):
    """Base of all errors whose message is meant for the person at the keyboard."""


class ConfigError(HyperctError):
    """A parameter is unknown, of the wrong type, or impossible."""


class MissingInputError(HyperctError):
    """An input of the run is not there or cannot be used; found before any node runs."""


class ArchiveError(HyperctError):
    """The image archive is missing, empty or unreadable as a whole."""


class LabelTableError(HyperctError):
    """A label or cohort table is missing, or lacks what its source declares."""


class LeakageError(HyperctError):
    """A patient or study stands where it must not: in two splits, or under two keys."""


class WeightsError(HyperctError):
    """Backbone weights are missing or do not fit the architecture."""


class PackageError(HyperctError):
    """A model package is broken, foreign, or made for other data."""


class StoreError(HyperctError):
    """A stored volume is absent, damaged, or was prepared with other settings."""

    @classmethod
    def damaged(cls, key: str, how: str) -> "StoreError":
        """Of a volume whose file has changed since it was written."""
        return cls(f"Stored volume {key} is damaged ({how}). Run `kedro run --pipelines=preprocess` again.")


class SecretError(HyperctError):
    """The pseudonym secret is missing, too short, or not the one the data were made with."""


class UnwritableError(StoreError):
    """Results of studies cannot be written; one error for all of them."""

    CODE = "OUTPUT_UNWRITABLE"  # of a study whose process met it

    def __init__(self, what: str) -> None:
        super().__init__(
            f"The folder of {what} under data_root cannot be written: is the disk full? "
            "Finished studies are kept; run again to go on."
        )
