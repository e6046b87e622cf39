"""Which SOP classes the receiver takes, and for what; everything else is rejected at association negotiation.

The conformance statement prints `ACCEPTED`. MR images are analysed. Other objects of a brain-tumour study are kept as
*material*: they take no part in completeness or analysis, but refusing them would fail the sender's whole job. CT, PET,
ultrasound and the rest are not accepted: a study of that kind was routed here by mistake, and the rejected presentation
context says so at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from pydicom import uid

from gateway.tables import InstanceRole

_IMAGES = (
    uid.MRImageStorage,
    uid.EnhancedMRImageStorage,
    uid.EnhancedMRColorImageStorage,
    uid.LegacyConvertedEnhancedMRImageStorage,
)
LABELMAP_SEGMENTATION = uid.UID("1.2.840.10008.5.1.4.1.1.66.7")  # newer than pydicom's dictionary
_MATERIAL = (
    uid.MRSpectroscopyStorage,
    uid.SegmentationStorage,
    LABELMAP_SEGMENTATION,
    uid.SurfaceSegmentationStorage,
    uid.ParametricMapStorage,
    uid.RTStructureSetStorage,
    uid.BasicTextSRStorage,
    uid.EnhancedSRStorage,
    uid.ComprehensiveSRStorage,
    uid.Comprehensive3DSRStorage,
    uid.ExtensibleSRStorage,
    uid.KeyObjectSelectionDocumentStorage,
    uid.GrayscaleSoftcopyPresentationStateStorage,
    uid.ColorSoftcopyPresentationStateStorage,
    uid.PseudoColorSoftcopyPresentationStateStorage,
    uid.BlendingSoftcopyPresentationStateStorage,
    uid.SecondaryCaptureImageStorage,
    uid.MultiFrameGrayscaleByteSecondaryCaptureImageStorage,
    uid.MultiFrameGrayscaleWordSecondaryCaptureImageStorage,
    uid.MultiFrameTrueColorSecondaryCaptureImageStorage,
    uid.EncapsulatedPDFStorage,
    uid.RawDataStorage,
    uid.SpatialRegistrationStorage,
    uid.DeformableSpatialRegistrationStorage,
)

ACCEPTED: Mapping[str, InstanceRole] = MappingProxyType(
    {**{str(c): InstanceRole.IMAGE for c in _IMAGES}, **{str(c): InstanceRole.MATERIAL for c in _MATERIAL}}
)
"""SOP Class UID -> what its instances are to us."""

WITH_PIXEL_DATA = frozenset(str(c) for c in _IMAGES)
"""Classes of which an instance without pixel data is refused."""

TRANSFER_SYNTAXES: tuple[str, ...] = (
    uid.ExplicitVRLittleEndian,
    uid.ImplicitVRLittleEndian,
    uid.ExplicitVRBigEndian,
    uid.DeflatedExplicitVRLittleEndian,
    uid.RLELossless,
    uid.JPEGBaseline8Bit,
    uid.JPEGExtended12Bit,
    uid.JPEGLossless,
    uid.JPEGLosslessSV1,
    uid.JPEGLSLossless,
    uid.JPEGLSNearLossless,
    uid.JPEG2000Lossless,
    uid.JPEG2000,
    uid.HTJ2KLossless,
    uid.HTJ2KLosslessRPCL,
    uid.HTJ2K,
)
"""All are taken and stored as received; the pixels are decoded where they are used. The sender's order of preference
decides, so that nothing is transcoded for us."""
