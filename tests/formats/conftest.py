"""Small DICOM series, from the CT slice that ships inside pydicom or made whole, and the DICOM checker dciodvfy."""

from __future__ import annotations

import importlib
import shutil
import subprocess
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import UID, CTImageStorage, ExplicitVRLittleEndian, generate_uid

SmallCt = Callable[..., Path]
Maker = Callable[..., FileDataset]


@pytest.fixture
def small_ct(tmp_path: Path) -> SmallCt:
    """A maker of folders: `slices` files, named in a random order, 2.5 mm apart along the normal."""

    def make(folder: str = "ct", *, slices: int = 6, edit: Callable[[Dataset, int], None] | None = None) -> Path:
        target = tmp_path / folder
        target.mkdir()
        names = np.random.default_rng(0).permutation(slices)
        series_uid = pydicom.uid.generate_uid()
        for k in range(slices):
            slice_ = pydicom.dcmread(str(get_testdata_file("CT_small.dcm", download=False)))
            slice_.SOPInstanceUID = slice_.file_meta.MediaStorageSOPInstanceUID = pydicom.uid.generate_uid()
            slice_.SeriesInstanceUID = series_uid
            slice_.InstanceNumber = slices - k
            x, y, z = slice_.ImagePositionPatient
            slice_.ImagePositionPatient = [x, y, round(float(z) + 2.5 * k, 4)]
            slice_.SpacingBetweenSlices = slice_.SliceThickness = "2.5"
            if edit:
                edit(slice_, k)
            slice_.save_as(target / f"{names[k]:03d}.dcm")
        return target

    return make


@pytest.fixture
def dicom_errors() -> Callable[[Path], list[str]]:
    """The Error lines that dciodvfy prints for a file; warnings are advice (David Clunie, dicom3tools)."""
    program = shutil.which("dciodvfy")
    if program is None:
        pytest.skip("dciodvfy is not installed (Debian: dicom3tools)")

    def check(path: Path) -> list[str]:
        done = subprocess.run([program, str(path)], capture_output=True, text=True, check=False)
        lines = (done.stdout + done.stderr).splitlines()
        assert lines, "dciodvfy names at least the kind of object"
        return [line for line in lines if line.startswith(("Error", "Abort", "Usage"))]

    return check


@pytest.fixture(scope="session")
def make_slice() -> Maker:
    """make_slice(path, pixels, position=..., syntax=..., **attributes): one DICOM image written to `path`."""
    series, study, frame = (generate_uid(entropy_srcs=[name]) for name in ("series", "study", "frame"))

    def make(
        path: Path, pixels: np.ndarray, *, position: Any = (0, 0, 0), syntax: UID = ExplicitVRLittleEndian, **told: Any
    ) -> FileDataset:
        meta = FileMetaDataset()
        meta.TransferSyntaxUID = syntax
        meta.MediaStorageSOPClassUID = CTImageStorage
        meta.MediaStorageSOPInstanceUID = generate_uid()
        dataset = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
        values: dict[str, Any] = {
            "SOPClassUID": CTImageStorage,
            "SOPInstanceUID": meta.MediaStorageSOPInstanceUID,
            "SeriesInstanceUID": series,
            "StudyInstanceUID": study,
            "FrameOfReferenceUID": frame,
            "PatientID": "P1",
            "Modality": "CT",
            "SeriesDescription": "thorax",
            "ImagePositionPatient": list(position) if position is not None else None,
            "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
            "PixelSpacing": [0.5, 0.75],
            "SliceThickness": 9,
            "Rows": pixels.shape[-2],
            "Columns": pixels.shape[-1],
            "SamplesPerPixel": 1,
            "PhotometricInterpretation": "MONOCHROME2",
            "BitsAllocated": 8 * pixels.itemsize,
            "BitsStored": 8 * pixels.itemsize,
            "HighBit": 8 * pixels.itemsize - 1,
            "PixelRepresentation": int(np.issubdtype(pixels.dtype, np.signedinteger)),
            "PixelData": pixels.tobytes() + b"\0" * (pixels.nbytes % 2),
            "RescaleSlope": 1,
            "RescaleIntercept": -1000,
        }
        for name, value in (values | told).items():
            if value is not None:
                setattr(dataset, name, value)
        dataset["PixelData"].VR = "OB" if pixels.itemsize == 1 or syntax.is_encapsulated else "OW"
        dataset["PixelData"].is_undefined_length = syntax.is_encapsulated
        dataset.save_as(path, enforce_file_format=True)
        return dataset

    return make


@pytest.fixture
def make_series(make_slice: Maker, tmp_path: Path) -> Callable[..., Path]:
    """make_series(heights, each={index: attributes}, **attributes): a folder of slices whose pixels are 10 x index."""

    def make(heights: Any, each: dict[int, dict[str, Any]] | None = None, name: str = "series", **told: Any) -> Path:
        folder = tmp_path / name
        folder.mkdir(exist_ok=True)
        for index, height in enumerate(heights):
            # names and instance numbers run against the positions, as they may in an archive
            number = len(heights) - index
            position = {"position": (-10.0, -20.0, height)} if np.isscalar(height) else {"position": height}
            options = {"InstanceNumber": number, **position, **told, **(each or {}).get(index, {})}
            pixels = options.pop("pixels", np.full((4, 6), 10 * index, np.int16))
            make_slice(folder / f"{number:03d}.dcm", pixels, **options)
        return folder

    return make


@pytest.fixture(scope="session")
def write_record() -> Callable[..., None]:
    """write_record(folder, name, rate, {channel: samples}, marks): a WFDB record in mV, with annotations if any."""

    def write(
        folder: Path, name: str, rate: float, channels: dict[str, Any], marks: list[tuple[int, str]] | None = None
    ) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the package uses what pandas has deprecated
            wfdb = importlib.import_module("wfdb")
            wfdb.wrsamp(
                name, fs=rate, units=["mV"] * len(channels), sig_name=list(channels), write_dir=str(folder),
                p_signal=np.stack(list(channels.values()), axis=1), fmt=["16"] * len(channels),
            )  # fmt: skip
            if marks:
                samples, symbols = zip(*marks, strict=True)
                wfdb.wrann(name, "atr", np.array(samples), symbol=list(symbols), write_dir=str(folder))

    return write
