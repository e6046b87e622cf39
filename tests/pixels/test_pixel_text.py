"""Text burned into pixels: found, painted over or refused; nothing found in clean slices; no extra, no way out."""

from __future__ import annotations

import io
import itertools
import zipfile
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pydicom
import pytest
from pixels.captures import (
    CAPTURE,
    COLOUR_FRAMES,
    GREY_WORDS,
    MR_IMAGE,
    compressed,
    image_object,
    palette_object,
    write_series,
)
from pixels.planted_text import BACKGROUNDS, Planted, backdrop, is_covered, plant, planted_lines
from pydicom.dataset import Dataset

from deidentify import burned_in, series_text
from deidentify.engine import deidentify
from deidentify.errors import RefusalCode, Refused
from deidentify.folder import deidentify_folder
from deidentify.keys import KeyRing
from deidentify.pixel_frames import views_of
from deidentify.profile import Profile
from deidentify.reading import read
from deidentify.subject import Subject, identifiers_of
from deidentify.text_reader import Reader, reader
from deidentify.writing import to_bytes

MASKING = """
name = "captures-too"
[pixels]
text = "mask"
[sop_classes]
accepted = ["1.2.840.10008.5.1.4.1.1.4", "1.2.840.10008.5.1.4.1.1.7", "1.2.840.10008.5.1.4.1.1.7.2",
  "1.2.840.10008.5.1.4.1.1.7.3", "1.2.840.10008.5.1.4.1.1.7.4"]
"""


@pytest.fixture(scope="module")
def found() -> Reader:
    loaded = reader()
    assert loaded is not None, "the tests need the extra ocr (make test installs it)"
    return loaded


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> KeyRing:
    return KeyRing.create(tmp_path_factory.mktemp("keys") / "k")


@pytest.fixture(scope="module")
def masking(tmp_path_factory: pytest.TempPathFactory) -> Profile:
    path = tmp_path_factory.mktemp("profile") / "p.toml"
    path.write_text(MASKING)
    return Profile.load(path)


def line(size: int, background: str = "dark", side: int = 256, text: str = "DOE^JANE 1961-03-04") -> Planted:
    rng = np.random.default_rng(size)
    return plant(backdrop(background, side, rng), text, size, background, "DejaVuSans.ttf", rng)


def cleaned(ds: Dataset, keys: KeyRing, profile: Profile) -> Dataset:
    """As it is received, and as a recipient reads it: written and read back before and after."""
    received = io.BytesIO()
    pydicom.dcmwrite(received, ds, enforce_file_format=True)
    ds = read(received.getvalue())
    return read(to_bytes(deidentify(ds, Subject(b"s" * 16, identifiers_of(ds)), keys, profile).dataset))


def codes_of(ds: Dataset) -> set[str]:
    return {item.CodeValue for item in ds.DeidentificationMethodCodeSequence}


def mask_of(found: Reader, image: npt.NDArray[np.uint8]) -> npt.NDArray[np.bool_]:
    mask = np.zeros(image.shape, bool)
    for box in found.lines(image):
        mask[box.top : box.bottom, box.left : box.right] = True
    return mask


def misses(found: Reader, lines: list[Planted]) -> list[tuple[int, str]]:
    return [(p.size, p.background) for p in lines if not is_covered(p, mask_of(found, p.image))]


def test_planted_lines_are_found(found: Reader) -> None:
    """A share of the lines of `test_recall_of_planted_lines`, on each background and in each size."""
    lines = list(itertools.islice(planted_lines(5), 0, None, 9))
    assert {p.background for p in lines} == set(BACKGROUNDS)
    assert misses(found, lines) == []


@pytest.mark.slow
def test_recall_of_planted_lines(found: Reader) -> None:
    lines = [p for seed in (1, 2, 3) for p in planted_lines(seed)]
    missed = misses(found, lines)
    assert len(missed) <= 0.03 * len(lines), missed
    print(f"{len(lines) - len(missed)} of {len(lines)} planted lines found")


@pytest.mark.slow
def test_clean_slices_are_not_flagged(found: Reader, real_data: Path) -> None:
    import nibabel

    slices = []
    with zipfile.ZipFile(real_data / "dicom" / "t1_oblique_384.zip") as archive:
        for name in sorted(n for n in archive.namelist() if n.endswith(".dcm"))[::10]:
            slices.append(pydicom.dcmread(io.BytesIO(archive.read(name))).pixel_array)
    for file in sorted((real_data / "segmentation" / "tcga-fg-6692" / "raw").glob("*.nii.gz")):
        volume = np.asarray(nibabel.load(file).dataobj)
        slices += [volume[:, :, k].T for k in range(0, volume.shape[2], 2)]
    assert len(slices) >= 50
    flagged = [n for n, image in enumerate(slices) if any(found.lines(view) for view in views_of(image))]
    assert flagged == [], f"{len(flagged)} of {len(slices)} clean slices"


def test_a_few_clean_slices_are_not_flagged(found: Reader, real_data: Path) -> None:
    with zipfile.ZipFile(real_data / "dicom" / "t1_oblique_384.zip") as archive:
        names = sorted(n for n in archive.namelist() if n.endswith(".dcm"))[40::80]
        slices = [pydicom.dcmread(io.BytesIO(archive.read(name))).pixel_array for name in names]
    assert [n for n, image in enumerate(slices) if any(found.lines(view) for view in views_of(image))] == []


@pytest.mark.parametrize("kind", ["words", "bytes", "inverted", "colour", "palette", "frames", "rle"])
def test_text_is_painted_over_and_nothing_else(kind: str, found: Reader, keys: KeyRing, masking: Profile) -> None:
    planted = line(12, "brain")
    grey = planted.image
    blank = backdrop("dark", 256, np.random.default_rng(1))
    inverted = kind == "inverted"
    objects = {
        "words": lambda: image_object(grey.astype(np.uint16) * 16),
        "bytes": lambda: image_object(grey),
        "inverted": lambda: image_object(255 - grey, PhotometricInterpretation="MONOCHROME1"),
        "colour": lambda: image_object(np.stack([grey, grey // 2, grey // 3], axis=-1)),
        "palette": lambda: palette_object(grey),
        "frames": lambda: image_object(np.stack([blank, grey]), f"{CAPTURE}.2"),
        "rle": lambda: compressed(image_object(grey)),
    }
    ds = objects[kind]()
    before = pydicom.pixels.pixel_array(ds)
    out = cleaned(ds, keys, masking)
    after = pydicom.pixels.pixel_array(out)
    assert out.BurnedInAnnotation == "NO"
    assert "113101" in codes_of(out)
    assert not out.file_meta.TransferSyntaxUID.is_compressed
    last = (after[1], before[1]) if kind == "frames" else (after, before)
    changed = last[0] != last[1]
    changed = changed.any(axis=-1) if changed.ndim == 3 else changed
    assert (planted.ink & changed).sum() > 0.9 * planted.ink.sum()
    assert changed.mean() < 0.15, "more than the line and its margin was painted"
    ground = last[0][changed]
    assert len(np.unique(ground, axis=0)) == 1
    view = 255 - after if inverted else last[0]
    if kind != "palette":
        assert not [b for v in views_of(view) for b in found.lines(v)]
    if kind == "frames":
        assert np.array_equal(before[0], after[0])


def test_a_capture_without_text_passes_unchanged_and_is_marked_as_read(keys: KeyRing, masking: Profile) -> None:
    ds = image_object(backdrop("brain", 256, np.random.default_rng(3)), GREY_WORDS.replace("7.3", "7"))
    out = cleaned(ds, keys, masking)
    assert out.PixelData == ds.PixelData
    assert "113101" in codes_of(out)


def test_an_original_slice_is_not_marked_as_read(keys: KeyRing) -> None:
    ds = image_object(backdrop("brain", 64, np.random.default_rng(3)).astype(np.uint16), MR_IMAGE)
    assert "113101" not in codes_of(cleaned(ds, keys, Profile.default()))


def test_text_that_the_header_announces_must_be_found(keys: KeyRing, masking: Profile) -> None:
    ds = image_object(backdrop("brain", 128, np.random.default_rng(3)), BurnedInAnnotation="YES")
    with pytest.raises(Refused) as refusal:
        cleaned(ds, keys, masking)
    assert refusal.value.code is RefusalCode.PIXELS_BURNED_IN


def test_a_lying_header_is_not_believed(keys: KeyRing) -> None:
    """Burned In Annotation NO, a secondary MR image, text in 12 bits of which anatomy uses a tenth."""
    planted = line(14, "dark", 128)
    pixels = (planted.image.astype(np.uint16) // 3) + np.where(planted.ink, 4000, 0).astype(np.uint16)
    ds = image_object(pixels, MR_IMAGE, ImageType=["DERIVED", "SECONDARY", "MPR"], BurnedInAnnotation="NO")
    with pytest.raises(Refused) as refusal:
        cleaned(ds, keys, Profile.default())
    assert refusal.value.code is RefusalCode.PIXELS_BURNED_IN
    assert "DOE" not in refusal.value.message


def test_captures_and_documents_do_not_leave_by_default(keys: KeyRing) -> None:
    for sop_class in (CAPTURE, COLOUR_FRAMES, "1.2.840.10008.5.1.4.1.1.104.1"):
        with pytest.raises(Refused) as refusal:
            cleaned(image_object(line(18).image, sop_class), keys, Profile.default())
        assert refusal.value.code is RefusalCode.SOP_CLASS_REFUSED


def test_without_the_extra_nothing_leaves_unread(
    keys: KeyRing, masking: Profile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(burned_in, "reader", lambda: None)
    secondary = image_object(
        backdrop("brain", 64, np.random.default_rng(1)).astype(np.uint16), MR_IMAGE, ImageType=["DERIVED", "SECONDARY"]
    )
    for ds, profile in ((secondary, Profile.default()), (image_object(line(12).image), masking)):
        with pytest.raises(Refused) as refusal:
            cleaned(ds, keys, profile)
        assert refusal.value.code is RefusalCode.PIXELS_UNREAD
        assert "timepoint[ocr]" in refusal.value.message


def test_pixels_that_cannot_be_decoded_do_not_leave(keys: KeyRing, masking: Profile) -> None:
    ds = image_object(line(12).image)
    ds.Rows = 4000
    with pytest.raises(Refused) as refusal:
        cleaned(ds, keys, masking)
    assert refusal.value.code is RefusalCode.PIXELS_UNREAD


def series(text_on: int | None) -> list[npt.NDArray[np.uint16]]:
    slices = [backdrop("brain", 160, np.random.default_rng(n)).astype(np.uint16) * 4 for n in range(9)]
    if text_on is not None:
        planted = line(14, "dark", 160)
        slices[text_on] = np.where(planted.ink, 1020, slices[text_on]).astype(np.uint16)
    return slices


@pytest.mark.parametrize("text_on", [0, 3, 8])
def test_text_on_one_slice_keeps_the_series_back(text_on: int, tmp_path: Path, keys: KeyRing) -> None:
    """Slice 3 is none of the three that are read: the maximum projection shows it."""
    write_series(tmp_path / "in" / "a", series(text_on))
    report = deidentify_folder(tmp_path / "in", tmp_path / "out", keys, Profile.default())
    assert report.written == 0
    assert report.refused_by_code == {"pixels-burned-in": 9}


def test_a_clean_series_passes(tmp_path: Path, keys: KeyRing) -> None:
    files = write_series(tmp_path / "in", series(None))
    assert list(series_text.by_series(files[::-1]).values()) == [files]
    assert deidentify_folder(tmp_path / "in", tmp_path / "out", keys, Profile.default()).written == 9
