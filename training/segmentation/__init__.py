"""Our own segmentation network: simulated cases, random appearance, training and evaluation."""
