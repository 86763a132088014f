"""HyperCT: a frozen DINOv3 backbone whose low-rank adapters are generated per task by a hypernetwork."""
