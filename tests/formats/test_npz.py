"""Pictures inside numpy's archives: by array and number, and nothing unpickled."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.lib import format as npy

from galenic.core.errors import GalenicError, MissingFile, UnreadableFile, UnsafeFile, UnsupportedFile, ValueProblem
from galenic.core.files import of_file
from galenic.formats import index, npz

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 255, (4, 6, 7)).astype(np.uint8)
COLOUR = RNG.integers(0, 255, (3, 6, 7, 3)).astype(np.uint8)
VOLUME = RNG.normal(size=(2, 5, 6, 7)).astype(np.float32)
FLAGS = GREY > 100


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    path = tmp_path / "set #1.npz"
    np.savez_compressed(path, allow_pickle=False, grey=GREY, colour=COLOUR, volume=VOLUME, flags=FLAGS)
    return path


def test_a_place_names_file_array_and_number(archive: Path) -> None:
    place = Path(f"{archive}#grey/2")
    assert npz.is_place(place)
    assert of_file(place) == (archive, "grey/2")
    assert index.format_of(place) == "npz"
    assert not npz.is_place(archive)
    assert of_file(Path("a/b.png")) == (Path("a/b.png"), "")
    assert index.holds_image(place)
    assert not index.holds_image(archive)


def test_grey_colour_volumes_and_flags(archive: Path) -> None:
    grey, colour, volume, flags = (
        index.read_image(Path(f"{archive}#{name}/1")) for name in ("grey", "colour", "volume", "flags")
    )
    assert np.array_equal(grey.array, GREY[1][None])
    assert np.array_equal(colour.array, np.moveaxis(COLOUR[1], -1, 0))
    assert colour.channels == ("red", "green", "blue")
    assert np.array_equal(volume.array, VOLUME[1][None])
    assert (volume.geometry.dims, volume.geometry.known) == (3, False)
    assert flags.array.dtype == np.uint8
    assert np.array_equal(flags.array[0], FLAGS[1])


def test_a_file_that_changed_is_read_anew(archive: Path) -> None:
    before = index.read_image(Path(f"{archive}#grey/0")).array
    np.savez(archive, allow_pickle=False, grey=255 - GREY)
    assert np.array_equal(index.read_image(Path(f"{archive}#grey/0")).array, 255 - before)


@pytest.mark.parametrize(
    ("place", "error", "words"),
    [
        ("#grey/4", ValueProblem, "0 to 3"),
        ("#none/0", UnsupportedFile, "colour, flags, grey, volume"),
        ("", UnsupportedFile, "#colour/0"),
    ],
)
def test_a_wrong_place_is_told_what_there_is(archive: Path, place: str, error: type[GalenicError], words: str) -> None:
    with pytest.raises(error) as caught:
        index.read_image(Path(f"{archive}{place}"))
    assert words in str(caught.value)


def test_what_is_no_archive(tmp_path: Path) -> None:
    with pytest.raises(MissingFile):
        index.read_image(tmp_path / "none.npz#grey/0")
    (tmp_path / "text.npz").write_text("text")
    with pytest.raises(UnreadableFile):
        index.read_image(tmp_path / "text.npz#grey/0")
    with zipfile.ZipFile(tmp_path / "empty.npz", "w"):
        pass
    with pytest.raises(UnreadableFile, match="no array"):
        index.read_image(tmp_path / "empty.npz")
    with pytest.raises(UnsupportedFile):
        index.read_mask(tmp_path / "empty.npz")


def packed(tmp_path: Path, content: bytes) -> Path:
    with zipfile.ZipFile(tmp_path / "made.npz", "w") as made:
        made.writestr("grey.npy", content)
    return tmp_path / "made.npz#grey/0"


def test_objects_are_never_unpickled(tmp_path: Path) -> None:
    held = io.BytesIO()
    npy.write_array(held, np.array([[[{"a": 1}]]], dtype=object), allow_pickle=True)
    with pytest.raises(UnsupportedFile, match="object"):
        index.read_image(packed(tmp_path, held.getvalue()))


@pytest.mark.parametrize("shape", [(1 << 20, 1 << 10, 1 << 10), (-3, 4, 5), (5,), (4, 5)])
def test_a_header_that_lies_takes_no_memory(tmp_path: Path, shape: tuple[int, ...]) -> None:
    held = io.BytesIO()
    npy.write_array_header_1_0(held, {"shape": shape, "fortran_order": False, "descr": "|u1"})
    with pytest.raises((UnsafeFile, UnreadableFile, UnsupportedFile)):
        index.read_image(packed(tmp_path, held.getvalue() + b"0" * 60))


@given(st.data())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_damage_gives_our_errors_or_a_picture(tmp_path: Path, data: st.DataObject) -> None:
    path = tmp_path / "a.npz"
    np.savez_compressed(path, allow_pickle=False, grey=GREY)
    content = bytearray(path.read_bytes())
    if data.draw(st.booleans()):
        content = content[: data.draw(st.integers(0, len(content) - 1))]
    else:
        content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
    path.write_bytes(bytes(content))
    try:
        found = index.read_image(Path(f"{path}#grey/1"))
    except GalenicError:
        return
    assert found.array.shape == (1, 6, 7)
