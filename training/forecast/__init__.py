"""Training, calibration and evaluation of the forecaster."""
