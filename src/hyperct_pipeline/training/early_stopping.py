"""When training has gone on long enough without a better validation."""

from collections.abc import Mapping


class EarlyStopping:
    """Counts the validations since the best one.

    The highest mean AUROC is the best; where no task can be judged, the lowest loss.

    Args:
        patience: validations without a better one after which training ends; None: never.

    Attributes:
        best: the best value so far; None before the first validation.
        turns: validations since then.
    """

    def __init__(self, patience: int | None) -> None:
        self.patience = patience
        self.best: float | None = None
        self.turns = 0

    def see(self, metrics: Mapping[str, float | None]) -> None:
        """Take the metrics of a validation into account."""
        loss = metrics.get("validation_loss")
        value = metrics.get("validation_auroc", None if loss is None else -loss)
        if value is not None and (self.best is None or value > self.best):
            self.best, self.turns = value, 0
        else:
            self.turns += 1

    @property
    def is_over(self) -> bool:
        """Whether validation has not become better for `patience` turns."""
        return self.patience is not None and self.turns >= self.patience
