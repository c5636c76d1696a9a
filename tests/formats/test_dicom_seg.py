from __future__ import annotations

from pathlib import Path

import highdicom
import nibabel
import numpy as np
import pydicom
import pytest

from galenic.core.errors import (
    GeometryError,
    InputError,
    MissingFile,
    SeriesError,
    UnreadableFile,
    UnsupportedFile,
    ValueProblem,
)
from galenic.formats.dicom import read_image
from galenic.formats.dicom_seg import SegmentCode, read_seg, write_seg
from galenic.formats.dicom_source import read_series
from galenic.values import Geometry, Mask

NAMES = {2: "liver", 5: "liver lesion", 9: "never seen"}
LIVER = SegmentCode(("91723000", "SCT", "Anatomical Structure"), ("10200004", "SCT", "Liver"))
BY = {"algorithm": "unet", "version": "1.2"}


def drawn_on(folder: Path, names: dict[int, str] | None = None) -> Mask:
    """Two classes, different in every slice, on slices 1 to 3 of the series; the third class is empty."""
    series = read_series(folder)
    array = np.zeros(series.shape, np.uint8)
    for k in range(1, 4):
        array[k, 10 : 40 + 5 * k, 20:70] = 2
        array[k, 20 : 25 + k, 30:33] = 5
    return Mask(array, series.geometry, names or NAMES)


def test_reads_back_equal_on_the_source_and_without_it(small_ct, tmp_path):
    folder = small_ct()
    mask = drawn_on(folder)
    write_seg(mask, folder, tmp_path / "out" / "seg.dcm", codes={2: LIVER}, **BY)
    back = read_seg(tmp_path / "out" / "seg.dcm", source=folder)
    assert np.array_equal(back.array, mask.array)
    assert dict(back.names) == NAMES
    assert back.geometry.close_to(mask.geometry)
    assert back.volumes_ml() == pytest.approx(mask.volumes_ml())
    alone = read_seg(tmp_path / "out" / "seg.dcm")
    assert np.array_equal(alone.array, mask.array[1:4])
    assert np.allclose(alone.geometry.to_mm([[0, 0, 0]]), mask.geometry.to_mm([[1, 0, 0]]))
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["seg.dcm"]


def test_each_frame_names_the_slice_it_was_drawn_on(small_ct, tmp_path):
    folder = small_ct()
    mask = drawn_on(folder)
    write_seg(mask, folder, tmp_path / "seg.dcm", codes={2: LIVER}, **BY)
    written = pydicom.dcmread(tmp_path / "seg.dcm")
    slices = {pydicom.dcmread(path).SOPInstanceUID: pydicom.dcmread(path) for path in folder.iterdir()}
    first = next(iter(slices.values()))
    for keyword in ("PatientID", "PatientName", "StudyInstanceUID", "StudyDate", "FrameOfReferenceUID"):
        assert written[keyword].value == first[keyword].value
    assert written.SegmentationType == "BINARY"
    assert [item.SeriesInstanceUID for item in written.ReferencedSeriesSequence] == [first.SeriesInstanceUID]
    assert len(written.ReferencedSeriesSequence[0].ReferencedInstanceSequence) == 6
    assert written.NumberOfFrames == 6  # two classes on three slices each, empty ones left out
    assert written.file_meta.TransferSyntaxUID == pydicom.uid.ExplicitVRLittleEndian
    for frame, groups in zip(written.pixel_array, written.PerFrameFunctionalGroupsSequence, strict=True):
        referred = groups.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID
        position = groups.PlanePositionSequence[0].ImagePositionPatient
        assert slices[referred].ImagePositionPatient == position
        k = round((float(position[2]) + 75.699997) / 2.5)
        value = [2, 5, 9][groups.SegmentIdentificationSequence[0].ReferencedSegmentNumber - 1]
        assert np.array_equal(frame == 1, mask.array[k] == value)
    segments = written.SegmentSequence
    assert [segment.SegmentLabel for segment in segments] == list(NAMES.values())
    assert segments[0].SegmentedPropertyTypeCodeSequence[0].CodeValue == "10200004"
    assert segments[1].SegmentedPropertyTypeCodeSequence[0].CodeValue == "85756007"
    algorithm = segments[0].SegmentationAlgorithmIdentificationSequence[0]
    assert (algorithm.AlgorithmName, algorithm.AlgorithmVersion) == ("unet", "1.2")


def test_a_second_reader_sees_the_same_mask(small_ct, tmp_path):
    folder = small_ct()
    mask = drawn_on(folder)
    write_seg(mask, folder, tmp_path / "seg.dcm", **BY)
    seg = highdicom.seg.segread(tmp_path / "seg.dcm")
    uids = [str(header.SOPInstanceUID) for header in read_series(folder).headers]
    pixels = seg.get_pixels_by_source_instance(uids, combine_segments=True, assert_missing_frames_are_empty=True)
    assert np.array_equal(np.array([0, 2, 5, 9])[pixels], mask.array)


@pytest.mark.parametrize("empty", [False, True])
def test_the_checker_finds_no_error(small_ct, tmp_path, dicom_errors, empty):
    folder = small_ct()
    mask = drawn_on(folder)
    if empty:
        mask = Mask(mask.array * 0, mask.geometry, NAMES)
    write_seg(mask, folder, tmp_path / "seg.dcm", **BY)
    assert dicom_errors(tmp_path / "seg.dcm") == []


def test_an_empty_mask_keeps_its_classes_and_its_grid(small_ct, tmp_path):
    folder = small_ct()
    mask = drawn_on(folder)
    write_seg(Mask(mask.array * 0, mask.geometry, NAMES), folder, tmp_path / "seg.dcm", **BY)
    for back in (read_seg(tmp_path / "seg.dcm"), read_seg(tmp_path / "seg.dcm", source=folder)):
        assert back.shape == mask.shape
        assert not back.array.any()
        assert dict(back.names) == NAMES


@pytest.mark.parametrize("edit", [None, "tilted", "oblique", "uneven_writing"])
def test_an_image_that_can_be_read_can_be_written_on(small_ct, tmp_path, edit):
    folder = small_ct(edit=globals()[edit] if edit else None)
    image = read_image(folder)
    mask = Mask((image.array[0] > 0).astype(np.uint8), image.geometry, {1: "dense"})
    write_seg(mask, folder, tmp_path / "seg.dcm", **BY)
    back = read_seg(tmp_path / "seg.dcm", source=folder)
    assert np.array_equal(back.array, mask.array)
    assert back.geometry.close_to(image.geometry, 1e-6)
    alone = read_seg(tmp_path / "seg.dcm")
    assert alone.shape == mask.shape
    assert alone.geometry.close_to(image.geometry)
    flat = read_image(next(folder.iterdir()))
    drawn = Mask((flat.array[0] > 0).astype(np.uint8), flat.geometry, {1: "dense"})
    write_seg(drawn, next(folder.iterdir()), tmp_path / "flat.dcm", **BY)
    assert np.array_equal(read_seg(tmp_path / "flat.dcm").array[0], drawn.array)


def test_a_series_of_one_slice(small_ct, tmp_path, dicom_errors):
    folder = small_ct(slices=1)
    series = read_series(folder)
    assert series.geometry.spacing_mm[0] == 2.5
    mask = Mask(np.eye(128, dtype=np.uint8)[np.newaxis], series.geometry, {1: "a"})
    write_seg(mask, folder, tmp_path / "seg.dcm", **BY)
    assert np.array_equal(read_seg(tmp_path / "seg.dcm").array, mask.array)
    assert dicom_errors(tmp_path / "seg.dcm") == []


def oblique(header, k):
    """Sagittal slices, going towards the right: the normal is against x."""
    header.ImageOrientationPatient = [0, 1, 0, 0, 0, -1]
    header.ImagePositionPatient = [30 - 2.5 * k, -40, 50]


def tilted(header, k):
    header.ImagePositionPatient = [-158.0, -179.0 + 0.7 * k, -75.0 + 2.5 * k]


def bare(header, k):
    header.PatientName = "Ñandú^Søren"
    for keyword in ("PatientBirthDate", "StudyID", "StudyTime", "SliceThickness", "SpacingBetweenSlices", "Laterality"):
        delattr(header, keyword)


def uneven_writing(header, k):
    """Positions rounded as some scanners do: no step is exact, the sum is."""
    header.ImagePositionPatient = [0, 0, round(0.625 * k, 2)]


def noisy(header, k):
    header.ImageOrientationPatient = [1, 0, 1e-6 * k, 0, 1, 0]


@pytest.mark.parametrize("edit", [oblique, tilted, bare, uneven_writing, noisy])
def test_round_trip_on_other_series(small_ct, tmp_path, dicom_errors, edit):
    folder = small_ct(edit=edit)
    mask = drawn_on(folder)
    write_seg(mask, folder, tmp_path / "seg.dcm", **BY)
    back = read_seg(tmp_path / "seg.dcm", source=folder)
    assert np.array_equal(back.array, mask.array)
    assert np.array_equal(read_seg(tmp_path / "seg.dcm").array, mask.array[1:4])
    first = read_series(folder).headers[0]
    assert pydicom.dcmread(tmp_path / "seg.dcm").PatientName == first.PatientName
    assert dicom_errors(tmp_path / "seg.dcm") == []


def test_round_trip_on_one_multi_frame_file_in_any_order(small_ct, tmp_path):
    folder = small_ct()
    headers = [pydicom.dcmread(path) for path in sorted(folder.iterdir())]
    enhanced = highdicom.legacy.LegacyConvertedEnhancedCTImage(
        headers,
        series_instance_uid=highdicom.UID(),
        series_number=7,
        sop_instance_uid=highdicom.UID(),
        instance_number=1,
    )
    frames = list(enhanced.PerFrameFunctionalGroupsSequence)
    enhanced.PerFrameFunctionalGroupsSequence = [frames[i] for i in (3, 0, 5, 1, 4, 2)]
    shared = enhanced.SharedFunctionalGroupsSequence[0]
    for frame in frames:
        frame.PlaneOrientationSequence = shared.PlaneOrientationSequence
    del shared.PlaneOrientationSequence
    (tmp_path / "one").mkdir()
    enhanced.save_as(tmp_path / "one" / "ct.dcm")
    mask = drawn_on(tmp_path / "one")
    assert mask.geometry.close_to(read_series(folder).geometry)
    write_seg(mask, tmp_path / "one" / "ct.dcm", tmp_path / "seg.dcm", **BY)
    assert np.array_equal(read_seg(tmp_path / "seg.dcm", source=tmp_path / "one").array, mask.array)
    written = pydicom.dcmread(tmp_path / "seg.dcm")
    for groups in written.PerFrameFunctionalGroupsSequence:
        number = groups.DerivationImageSequence[0].SourceImageSequence[0].ReferencedFrameNumber
        source = enhanced.PerFrameFunctionalGroupsSequence[int(number) - 1]
        there = source.PlanePositionSequence[0].ImagePositionPatient
        assert there == groups.PlanePositionSequence[0].ImagePositionPatient


def test_a_label_map_segmentation_is_read(small_ct, tmp_path):
    folder = small_ct()
    mask = drawn_on(folder)
    write_seg(mask, folder, tmp_path / "seg.dcm", **BY)
    binary = highdicom.seg.segread(tmp_path / "seg.dcm")
    label_map = highdicom.seg.Segmentation(
        source_images=read_series(folder).headers,
        pixel_array=np.array([0, 0, 1, 0, 0, 2], np.uint8)[mask.array],
        segmentation_type="LABELMAP",
        segment_descriptions=list(binary.SegmentSequence)[:2],
        series_instance_uid=highdicom.UID(),
        series_number=9,
        sop_instance_uid=highdicom.UID(),
        instance_number=1,
        manufacturer="x",
        manufacturer_model_name="x",
        software_versions="1",
        device_serial_number="1",
    )
    label_map.save_as(tmp_path / "map.dcm")
    assert np.array_equal(read_seg(tmp_path / "map.dcm", source=folder).array, mask.array)


def write_overlapping(folder: Path, path: Path, kind: str) -> None:
    write_seg(drawn_on(folder), folder, path, **BY)
    headers = read_series(folder).headers
    stacked = np.zeros((6, 128, 128, 2), np.uint8)
    stacked[2, 10:20, 10:20] = 1
    highdicom.seg.Segmentation(
        headers, stacked, kind, list(highdicom.seg.segread(path).SegmentSequence)[:2], highdicom.UID(), 9,
        highdicom.UID(), 1, "x", "x", "1", "1",
    ).save_as(path)  # fmt: skip


def test_overlapping_and_fractional_segments_are_refused(small_ct, tmp_path):
    folder = small_ct()
    write_overlapping(folder, tmp_path / "seg.dcm", "BINARY")
    with pytest.raises(ValueProblem, match=r"'liver' and 'liver lesion' overlap"):
        read_seg(tmp_path / "seg.dcm", source=folder)
    write_overlapping(folder, tmp_path / "seg.dcm", "FRACTIONAL")
    with pytest.raises(UnsupportedFile, match="FRACTIONAL"):
        read_seg(tmp_path / "seg.dcm")


def test_a_mask_on_another_grid_is_refused(small_ct, tmp_path):
    folder = small_ct()
    mask = drawn_on(folder)
    shifted = Geometry(
        mask.geometry.spacing_mm, mask.geometry.origin_mm + np.array([0, 0.5, 0]), mask.geometry.direction
    )
    for wrong in (
        Mask(mask.array, shifted, NAMES),
        Mask(mask.array[1:], mask.geometry, NAMES),
        Mask(mask.array, Geometry.plain(3), NAMES),
        Mask(mask.array[0], Geometry.plain(2, 1.0), NAMES),
    ):
        with pytest.raises(GeometryError):
            write_seg(wrong, folder, tmp_path / "seg.dcm", **BY)
    assert not (tmp_path / "seg.dcm").exists()


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ({2: "liver"}, r"without a name: \[5\]"),
        ({2: "liver", 5: "liver"}, "each name once"),
        ({2: "liver", 5: "x" * 65}, "64 characters"),
        ({2: "liver", 5: "a\\b"}, "no backslash"),
    ],
)
def test_names_that_dicom_cannot_hold_are_refused(small_ct, tmp_path, names, said):
    folder = small_ct()
    with pytest.raises(ValueProblem, match=said):
        write_seg(drawn_on(folder, names), folder, tmp_path / "seg.dcm", **BY)
    assert not (tmp_path / "seg.dcm").exists()


def test_odd_codes_and_versions_are_refused(small_ct, tmp_path):
    folder = small_ct()
    with pytest.raises(ValueProblem, match="16 characters"):
        SegmentCode(("1" * 17, "SCT", "x"), ("1", "SCT", "x"))
    with pytest.raises(ValueProblem, match="codes for the values"):
        write_seg(drawn_on(folder), folder, tmp_path / "seg.dcm", codes={7: LIVER}, **BY)
    with pytest.raises(ValueProblem, match="algorithm and version"):
        write_seg(drawn_on(folder), folder, tmp_path / "seg.dcm", algorithm="unet", version="")


def test_a_series_must_be_one_and_whole(small_ct, tmp_path):
    folder = small_ct(slices=5)
    mask = drawn_on(folder)
    other = small_ct("other", slices=5)
    uid = read_series(folder).series_uid
    for path in other.iterdir():
        path.rename(folder / f"other-{path.name}")
    (folder / "notes.txt").write_text("not DICOM")
    with pytest.raises(SeriesError, match="holds 2 series"):
        write_seg(mask, folder, tmp_path / "seg.dcm", **BY)
    write_seg(mask, folder, tmp_path / "seg.dcm", series_uid=uid, **BY)
    assert np.array_equal(read_seg(tmp_path / "seg.dcm", source=folder, series_uid=uid).array, mask.array)
    with pytest.raises(SeriesError, match="of no image"):
        read_series([tmp_path / "seg.dcm"])
    with pytest.raises(UnreadableFile):
        read_series([folder / "notes.txt"])
    with pytest.raises(MissingFile):
        read_series(tmp_path / "nowhere")
    middle = read_series(folder, series_uid=uid).headers[2].filename
    Path(middle).unlink()
    with pytest.raises(SeriesError, match="1 slices are missing"):
        read_series(folder, series_uid=uid)


@pytest.mark.parametrize(
    ("keyword", "value", "error"),
    [
        ("ImagePositionPatient", [-158.135803, -179.035797, -75.699997], SeriesError),
        ("ImagePositionPatient", [-158.135803, -179.035797, -72.0], GeometryError),
        ("ImagePositionPatient", [-150, -179.035797, -73.199997], GeometryError),
        ("ImageOrientationPatient", [1, 0, 0, 0, 0, 1], GeometryError),
        ("PixelSpacing", [1, 1], GeometryError),
        ("FrameOfReferenceUID", "1.2.3", GeometryError),
        ("Rows", 64, GeometryError),
    ],
)
def test_slices_that_do_not_fit_together_are_refused(small_ct, keyword, value, error):
    folder = small_ct(edit=lambda header, k: setattr(header, keyword, value) if k == 1 else None)
    with pytest.raises(error):
        read_series(folder)


def test_the_wrong_series_is_noticed_on_reading(small_ct, tmp_path):
    folder = small_ct()
    write_seg(drawn_on(folder), folder, tmp_path / "seg.dcm", **BY)

    def between(header, k):
        header.ImagePositionPatient = [*header.ImagePositionPatient[:2], header.ImagePositionPatient[2] + 1.25]

    with pytest.raises(GeometryError, match="lies on no slice"):
        read_seg(tmp_path / "seg.dcm", source=small_ct("between", edit=between))
    with pytest.raises(GeometryError, match="another size"):
        read_seg(tmp_path / "seg.dcm", source=small_ct("wide", edit=lambda h, k: setattr(h, "PixelSpacing", [1, 1])))
    elsewhere = small_ct("elsewhere", edit=lambda h, k: setattr(h, "FrameOfReferenceUID", "1.2.3"))
    with pytest.raises(GeometryError, match="frames of reference"):
        read_seg(tmp_path / "seg.dcm", source=elsewhere)
    with pytest.raises(UnsupportedFile, match="no DICOM segmentation"):
        read_seg(next(folder.iterdir()))


def test_a_damaged_file_gives_only_our_errors(small_ct, tmp_path):
    folder = small_ct()
    mask = drawn_on(folder)
    write_seg(mask, folder, tmp_path / "seg.dcm", **BY)
    whole = (tmp_path / "seg.dcm").read_bytes()
    rng = np.random.default_rng(1)
    refused = 0
    for trial in range(60):
        bad = bytearray(whole[: rng.integers(len(whole))] if trial % 2 else whole)
        for place in rng.integers(0, len(bad), 8) if trial % 2 == 0 else ():
            bad[place] = rng.integers(256)
        (tmp_path / "bad.dcm").write_bytes(bytes(bad))
        try:
            read_seg(tmp_path / "bad.dcm")
        except InputError:
            refused += 1
    assert refused >= 30  # all that were cut short, at least


@pytest.mark.shared
def test_lung_ct_segmentation_is_sound_and_reads_back(shared_data, tmp_path, dicom_errors):
    folder = shared_data / "ibsi-lung-ct"
    series = read_series(folder / "dicom" / "image")
    volume = nibabel.load(folder / "nifti" / "mask" / "mask.nii.gz")
    mask = Mask(np.asarray(volume.dataobj).transpose(2, 1, 0), series.geometry, {1: "GTV"})
    write_seg(mask, folder / "dicom" / "image", tmp_path / "seg.dcm", **BY)
    assert dicom_errors(tmp_path / "seg.dcm") == []
    back = read_seg(tmp_path / "seg.dcm", source=folder / "dicom" / "image")
    assert np.array_equal(back.array, mask.array)
    other = highdicom.seg.segread(tmp_path / "seg.dcm").get_volume(combine_segments=True)
    assert np.array_equal(np.sort(other.array.sum(axis=(1, 2))), np.sort(mask.array[17:43].sum(axis=(1, 2))))
    assert other.array.sum() == 125256
