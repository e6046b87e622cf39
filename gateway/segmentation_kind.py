"""How a study's masks are written: BINARY, or LABELMAP where it is wanted and every archive says that it takes it."""

from __future__ import annotations

import structlog
from highdicom.seg import SegmentationTypeValues

from gateway.dimse_client import RemoteAe, accepts
from gateway.result_settings import SegmentationKind
from gateway.settings import Destination, DestinationKind, Settings

LABEL_MAP = "1.2.840.10008.5.1.4.1.1.66.7"
_log = structlog.get_logger()


def segmentation_kind(settings: Settings) -> SegmentationTypeValues:
    """BINARY unless the settings ask for LABELMAP and every destination accepts Label Map Segmentation Storage.

    One kind for all destinations, because report and FHIR name the one segmentation by its UID.
    """
    if settings.results.segmentation is SegmentationKind.BINARY:
        return SegmentationTypeValues.BINARY
    for destination in settings.destinations:
        if not _takes_label_maps(settings, destination):
            _log.info("segmentation falls back to BINARY", destination=destination.name)
            return SegmentationTypeValues.BINARY
    return SegmentationTypeValues.LABELMAP


def _takes_label_maps(settings: Settings, destination: Destination) -> bool:
    if destination.kind is not DestinationKind.DICOM:
        return False  # STOW-RS has no negotiation to ask
    return accepts(settings.dicom.ae_title, RemoteAe.of(destination), LABEL_MAP) is True
