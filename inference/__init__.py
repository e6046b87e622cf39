"""From the series of one study to masks, measurements, forecasts and their DICOM encodings.

Works on de-identified data in the research zone; only the encoders take original headers.
"""
