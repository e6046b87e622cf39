"""Series -> volume: every orientation, order and encoding lands at the right place; the rest is refused in words."""

from __future__ import annotations

import io
import random
import zipfile
from collections.abc import Callable
from pathlib import Path

import highdicom
import numpy as np
import pytest
from highdicom import Volume
from imaging.mr_series import ORIENTATIONS, classic, enhanced, grid, head, rigid, save, voxel_places, with_array
from pydicom import Dataset, dcmread
from pydicom.data import get_testdata_file

from inference.volumes import UnreadableSeries, load_volume, volume_of

SPACING = (4.0, 1.5, 1.25)


def marked(axes: tuple[list[float], list[float], list[float]], turned: np.ndarray | None = None) -> Volume:
    """A volume whose values are a linear function of the LPS place, so that any misplacement shows."""
    empty = grid((9, 12, 14), SPACING, axes, (10.0, -20.0, 30.0), turned)
    x, y, z = voxel_places(empty)
    return with_array(empty, np.round(2 * (1000 + 3 * x - 5 * y + 7 * z)).astype(np.float32) / 2)


def value_at(volume: Volume, places: np.ndarray) -> np.ndarray:
    index = np.einsum("ij,jn->in", volume.inverse_affine, np.vstack([places, np.ones(places.shape[1])]))[:3]
    return volume.array[tuple(np.round(index).astype(int))]


@pytest.mark.parametrize("make", [classic, lambda v: [enhanced(v)]], ids=["classic", "enhanced"])
@pytest.mark.parametrize("orientation", [*ORIENTATIONS, "oblique"])
def test_values_stay_at_their_place_in_the_patient(orientation: str, make: Callable[[Volume], list[Dataset]]) -> None:
    turned = rigid((12, -23, 31), (0, 0, 0)) if orientation == "oblique" else None
    truth = marked(ORIENTATIONS.get(orientation, ORIENTATIONS["sagittal"]), turned)
    images = make(truth)
    random.Random(3).shuffle(images)
    read = volume_of(images)
    places = voxel_places(truth).reshape(3, -1)
    np.testing.assert_array_equal(value_at(read.volume, places), truth.array.ravel())
    assert read.volume.array.dtype == np.float32
    np.testing.assert_allclose(sorted(read.volume.spacing), sorted(SPACING))


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_geometry_is_that_of_highdicom_and_each_slice_names_its_image(orientation: str) -> None:
    images = classic(marked(ORIENTATIONS[orientation]))
    read = volume_of(images)
    assert read.volume.geometry_equal(highdicom.get_volume_from_series(images), tol=1e-6)
    heights = {i.SOPInstanceUID: i.ImagePositionPatient for i in images}
    for k, uid in enumerate(read.sop_instance_uids):
        np.testing.assert_allclose(read.volume.affine[:3, 3] + k * read.volume.affine[:3, 0], heights[uid], atol=1e-9)


def test_an_image_that_came_twice_counts_once() -> None:
    images = classic(marked(ORIENTATIONS["axial"]))
    assert volume_of([*images, images[2]]).volume.spatial_shape == (9, 12, 14)


@pytest.mark.parametrize("name", ["jp2klossless", "jpeg_ls_lossless", "RLE", "bigendian"])
def test_compressed_pixel_data_is_read(name: str) -> None:
    plain = dcmread(get_testdata_file("MR_small.dcm"))
    images = [dcmread(get_testdata_file(f"MR_small_{name}.dcm")) for _ in range(2)]
    images[1].SOPInstanceUID = "1.2.3"
    images[1].ImagePositionPatient = [*plain.ImagePositionPatient[:2], plain.ImagePositionPatient[2] + 4]
    read = volume_of(images)
    np.testing.assert_array_equal(read.volume.array, np.stack([plain.pixel_array] * 2).astype(np.float32))


def broken(edit: Callable[[list[Dataset]], object]) -> list[Dataset]:
    images = classic(marked(ORIENTATIONS["axial"]))
    edit(images)
    return images


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (lambda s: s[3].__delitem__("ImageOrientationPatient"), "lacks ImageOrientationPatient"),
        (lambda s: setattr(s[3], "ImagePositionPatient", None), "lacks ImagePositionPatient"),
        (lambda s: setattr(s[3], "ImageOrientationPatient", [0, 1, 0, 0, 0, -1]), "different orientations"),
        (lambda s: s[3].__delitem__("PixelData"), "no pixel data"),
        (lambda s: s.pop(4), "1 slice\\(s\\) are missing"),
        (lambda s: setattr(s[3], "ImagePositionPatient", s[4].ImagePositionPatient), "share a slice position"),
        (lambda s: s.__delitem__(slice(1, None)), "only one slice"),
        (lambda s: s.clear(), "holds no image"),
        (lambda s: setattr(s[3], "SeriesInstanceUID", "9.9"), "2 series"),
        (lambda s: setattr(s[3], "SamplesPerPixel", 3), "colour"),
        (lambda s: setattr(s[3], "PixelSpacing", [1.0, 1.0]), "different pixel spacings"),
        (lambda s: setattr(s[3], "PixelData", s[3].PixelData[:100]), "cannot be decoded"),
        (lambda s: setattr(s[3], "Rows", 6) or setattr(s[3], "PixelData", s[3].PixelData[:168]), "numbers of rows"),
    ],
)
def test_series_that_make_no_volume_are_refused_in_words(edit: Callable[[list[Dataset]], object], words: str) -> None:
    with pytest.raises(UnreadableSeries, match=words):
        volume_of(broken(edit))


def test_files_that_are_no_dicom_or_truncated_are_refused(tmp_path: Path) -> None:
    (tmp_path / "page.dcm").write_text("<html>" * 100)
    with pytest.raises(UnreadableSeries, match=r"page\.dcm is not a DICOM file"):
        load_volume([tmp_path / "page.dcm"])
    files = save(tmp_path, classic(marked(ORIENTATIONS["axial"])))
    files[5].write_bytes(files[5].read_bytes()[:700])
    with pytest.raises(UnreadableSeries):
        load_volume(files)


def test_rescale_differs_from_slice_to_slice() -> None:
    images = classic(marked(ORIENTATIONS["axial"]))
    images[2].RescaleSlope, images[2].RescaleIntercept = 2.0, 5.0
    read = volume_of(images)
    k = read.sop_instance_uids.index(images[2].SOPInstanceUID)
    np.testing.assert_array_equal(read.volume.array[k], images[2].pixel_array * 2.0 + 5.0)


def test_real_oblique_series_in_any_order(real_data: Path) -> None:
    with zipfile.ZipFile(real_data / "dicom/t1_oblique_384.zip") as archive:
        names = sorted(n for n in archive.namelist() if n.endswith(".dcm"))[::4]
        images = [dcmread(io.BytesIO(archive.read(n))) for n in names]
    expected = highdicom.get_volume_from_series(images)
    random.Random(1).shuffle(images)
    read = volume_of(images)
    assert read.volume.geometry_equal(expected, tol=1e-9)
    np.testing.assert_array_equal(read.volume.array, expected.array)


def test_real_enhanced_siemens_and_philips(real_data: Path) -> None:
    siemens = dcmread(real_data / "dicom/enhanced/6_1.dcm")
    expected = highdicom.Image.from_dataset(siemens).get_volume(apply_real_world_transform=False)
    read = volume_of([siemens])
    assert read.volume.geometry_equal(expected, tol=1e-6)
    np.testing.assert_array_equal(read.volume.array, expected.array)
    # the Philips field map holds two values at each position: magnitude and phase are no one volume
    with pytest.raises(UnreadableSeries, match="share a slice position"):
        volume_of([dcmread(real_data / "dicom/enhanced/IM_0027_fMAP.dcm")])
    with pytest.raises(UnreadableSeries, match="no pixel data"):
        volume_of([dcmread(real_data / "dicom/enhanced/1301_WIP_ADNI_Sag3D_MPRAGE_Raw.dcm")])


def test_a_head_is_read_as_it_was_drawn() -> None:
    drawn = head(grid((30, 64, 64), (5.0, 3.5, 3.5)))
    np.testing.assert_allclose(volume_of(classic(drawn)).volume.array[::-1], drawn.array, atol=0.26)
