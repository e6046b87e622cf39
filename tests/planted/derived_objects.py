"""SEG, SR, KOS and presentation states made with highdicom from planted images, and objects that must be refused."""

from __future__ import annotations

from copy import deepcopy

import highdicom as hd
import numpy as np
from highdicom.seg import Segmentation, SegmentDescription
from highdicom.sr import (
    AlgorithmIdentification,
    CodedConcept,
    Comprehensive3DSR,
    FindingSite,
    ImageRegion3D,
    Measurement,
    MeasurementReport,
    ObservationContext,
    ObserverContext,
    PersonObserverIdentifyingAttributes,
    PlanarROIMeasurementsAndQualitativeEvaluations,
    TimePointContext,
    TrackingIdentifier,
)
from planted.mr_objects import code, item, reparsed
from planted.plants import Planter
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.uid import (
    EncapsulatedPDFStorage,
    RawDataStorage,
    RTDoseStorage,
    SecondaryCaptureImageStorage,
)

_ALGORITHM = hd.AlgorithmIdentificationSequence(
    name="test network", version="1.0", family=codes.cid7162.ArtificialIntelligence
)


def segmentation(images: list[Dataset], uids: dict[str, str], planter: Planter) -> Dataset:
    """A SEG of one segment on the images; its patient and study modules are copies of theirs, plants included."""
    mask = np.zeros((len(images), images[0].Rows, images[0].Columns), np.uint8)
    mask[:, 4:8, 5:9] = 1
    description = SegmentDescription(
        1, "Enhancing tumor", codes.SCT.MorphologicallyAbnormalStructure, codes.SCT.Neoplasm,
        "AUTOMATIC", algorithm_identification=_ALGORITHM, tracking_uid=uids["tracking"], tracking_id="lesion 1",
    )  # fmt: skip
    seg = Segmentation(
        images, mask, "BINARY", [description], uids["seg_series"], 300, uids["seg"], 1, "Timepoint", "Timepoint", "1.0",
        "0001", content_description=None, content_creator_name=planter.person("SEG ContentCreatorName"),
        series_description="segmentation",
    )  # fmt: skip
    seg.SegmentSequence[0].SegmentDescription = planter.sentence("SegmentDescription")
    seg.ImageComments = planter.sentence("SEG ImageComments")
    return seg


def report(images: list[Dataset], uids: dict[str, str], planter: Planter, birth_date: str) -> Dataset:
    """A TID 1500 report with observer, subject, time point, measurements, and text that names people."""
    person = PersonObserverIdentifyingAttributes(
        planter.person("SR observer"), login_name=planter.label("SR login"),
        organization_name=planter.sentence("SR organisation", 60),
    )  # fmt: skip
    context = ObservationContext(observer_person_context=ObserverContext(codes.DCM.Person, person))
    tracking = TrackingIdentifier(uid=uids["tracking"], identifier="lesion 1")
    frame = images[0].FrameOfReferenceUID
    region = ImageRegion3D("POINT", np.array([[1.0, 2.0, 3.0]]), frame_of_reference_uid=frame)
    measurement = Measurement(
        codes.SCT.Volume, 12.5, codes.UCUM.CubicCentimeter,
        algorithm_id=AlgorithmIdentification("test network", "1.0"),
        finding_sites=[FindingSite(codes.SCT.Brain)],
    )  # fmt: skip
    group = PlanarROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=tracking, referenced_region=region, finding_type=codes.SCT.Neoplasm,
        measurements=[measurement], time_point_context=TimePointContext(time_point=planter.label("SR time point")),
    )  # fmt: skip
    procedure = CodedConcept("25056-3", "LN", "MRI unspecified body region")
    document = MeasurementReport(context, procedure, [group])
    sr = Comprehensive3DSR(
        images, document[0], uids["sr_series"], 400, uids["sr"], 1, "Timepoint", is_complete=True, is_verified=True,
        verifying_observer_name=planter.person("VerifyingObserverName"),
        verifying_organization=planter.sentence("VerifyingOrganization", 60),
        institution_name=planter.sentence("SR InstitutionName", 60),
    )  # fmt: skip
    sr.SeriesDescription = "measurement report"
    # As other writers encode them: plain datasets, also with text where highdicom would refuse it.
    plain = reparsed(sr)
    plain.ContentSequence.extend([_finding(planter), _dated(images[0].StudyDate), *_subject(planter, birth_date)])
    return plain


def _subject(planter: Planter, birth_date: str) -> list[Dataset]:
    """Subject context (TID 1007) with everything it can say."""
    planter.note("date", "SR Subject Birth Date", birth_date)
    name = _content("PNAME", "121029", "Subject Name", PersonName=planter.person("SR Subject Name"))
    identifier = _content("TEXT", "121030", "Subject ID", TextValue=planter.identifier("SR Subject ID"))
    born = _content("DATE", "121031", "Subject Birth Date", Date=birth_date)
    years = item(NumericValue="93", MeasurementUnitsCodeSequence=[code("a", "UCUM", "year")])
    age = _content("NUM", "121033", "Subject Age", MeasuredValueSequence=[years])
    return [name, identifier, born, age]


def _content(value_type: str, value: str, meaning: str, **values: object) -> Dataset:
    found = item(RelationshipType="HAS OBS CONTEXT", ValueType=value_type, **values)
    found.ConceptNameCodeSequence = [code(value, "DCM", meaning)]
    return found


def _finding(planter: Planter) -> Dataset:
    """A paragraph as a radiologist writes it."""
    text = item(RelationshipType="CONTAINS", ValueType="TEXT", TextValue=planter.sentence("SR TextValue"))
    text.ConceptNameCodeSequence = [code("121071", "DCM", "Finding")]
    inner = item(RelationshipType="HAS PROPERTIES", ValueType="PNAME", PersonName=planter.person("SR PNAME"))
    inner.ConceptNameCodeSequence = [code("121008", "DCM", planter.sentence("SR concept meaning", 60))]
    text.ContentSequence = [inner]
    return text


def _dated(study_date: str) -> Dataset:
    when = item(RelationshipType="HAS OBS CONTEXT", ValueType="DATETIME", DateTime=f"{study_date}102301")
    when.ConceptNameCodeSequence = [code("111060", "DCM", "Study Date")]
    return when


def key_objects(images: list[Dataset], uids: dict[str, str], planter: Planter) -> Dataset:
    """A Key Object Selection with a comment that names people."""
    content = hd.ko.KeyObjectSelection(
        codes.DCM.ForTeaching, images[:2], description=planter.sentence("KOS description")
    )
    return hd.ko.KeyObjectSelectionDocument(images[:2], content, uids["kos_series"], 500, uids["kos"], 1, "Timepoint")


def presentation(images: list[Dataset], uids: dict[str, str], planter: Planter) -> Dataset:
    """A GSPS with an annotation that names people."""
    text = hd.pr.TextObject(planter.sentence("GSPS text"), units="PIXEL", anchor_point=(2.0, 2.0))
    layer = hd.pr.GraphicLayer(
        planter.label("GraphicLayer").upper(), order=1, description=planter.sentence("layer", 60)
    )
    annotation = hd.pr.GraphicAnnotation(images[:1], graphic_layer=layer, text_objects=[text])
    return hd.pr.GrayscaleSoftcopyPresentationState(
        images[:1], uids["pr_series"], 600, uids["pr"], 1, "Timepoint", "Timepoint", "1.0", "0001",
        planter.label("ContentLabel").upper(), content_description=planter.sentence("GSPS description", 60),
        content_creator_name=planter.person("GSPS creator"), graphic_layers=[layer], graphic_annotations=[annotation],
    )  # fmt: skip


def refused(image: Dataset, planter: Planter) -> dict[str, Dataset]:
    """By expected reason code."""
    found: dict[str, Dataset] = {}
    for number, (name, sop_class) in enumerate(
        {
            "sop-class-refused/capture": SecondaryCaptureImageStorage,
            "sop-class-refused/document": EncapsulatedPDFStorage,
            "sop-class-refused/raw": RawDataStorage,
            "sop-class-refused/rtdose": RTDoseStorage,
            "sop-class-private/private": "1.2.840.113619.4.30",
            "sop-class-unknown/unknown": "1.2.840.10008.5.1.4.1.1.999.1",
        }.items()
    ):
        ds = deepcopy(image)
        ds.SOPClassUID, ds.SOPInstanceUID = sop_class, f"{image.SOPInstanceUID}.{number}"
        ds.PatientComments = planter.sentence(name)
        found[name] = ds
    burned = deepcopy(image)
    burned.SOPInstanceUID, burned.BurnedInAnnotation = f"{image.SOPInstanceUID}.77", "YES"
    found["pixels-burned-in/image"] = burned
    charset = deepcopy(image)
    charset.SOPInstanceUID, charset.SpecificCharacterSet = f"{image.SOPInstanceUID}.78", "ISO_IR 999"
    charset.PatientName = "Plain^Name"
    found["character-set/undefined"] = charset
    return found
