"""Names in the tables of the adapters, readable without torch."""

ALL_SITES = "all"  # the place that is all modules and layers
TRAINED, UNTRAINED = "trained", "untrained"  # whose weights: the model's, or the control's
