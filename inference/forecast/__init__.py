"""The forecaster at run time: patient history in, volume quantiles by horizon out, on one CPU thread.

A hierarchical Kalman filter gives each patient a prior drawn to the population of the tumour type; an LSTM over the
ten features of each scan corrects it; split conformal calibration sets the width of the intervals.
"""

from inference.forecast.forecaster import Forecaster
from inference.forecast.model import DEFAULT_MODEL, ForecastModel, ForecastModelError

__all__ = ["DEFAULT_MODEL", "ForecastModel", "ForecastModelError", "Forecaster"]
