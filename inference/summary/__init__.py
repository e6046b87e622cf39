"""The summary page of a study: key slices, growth curve with forecast, table and warnings, as an image or a PDF."""
