"""The domain core: the longitudinal record of a brain tumour as data and pure functions.

Nothing here opens a file, a socket or a database, and nothing here knows DICOM or torch.
"""
