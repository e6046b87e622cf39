"""The names of what a study revision is delivered as, and of the destination that is not a DICOM node."""

SEG = "seg"
REPORT = "sr"
DIAMETERS = "diameter-sr"
FORECAST = "forecast-sr"
REJECTION = "rejection-note"
BUNDLE = "fhir-bundle"
FHIR_DESTINATION = "fhir"
