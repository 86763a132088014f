"""Training of HyperCT: data, task sampling, the epoch loop, checkpoints. Needs neither kedro nor pandas."""
