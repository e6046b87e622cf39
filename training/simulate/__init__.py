"""Simulated patients: heads with growing tumours as DICOM studies, and volume histories."""
