"""Segmentation backends: our own network, any MONAI bundle, the MSNet cascade; `registry.load_backend` finds one."""
