"""A model folder is used only if it is what was sealed, can run no code, and points nowhere else."""

from __future__ import annotations

import json
import zipfile

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from galenic.core import bundle
from galenic.core.errors import (
    DigestError,
    MissingFile,
    ModelFolderError,
    NewerVersionError,
    UnsafeFile,
)


@pytest.fixture
def folder(tmp_path):
    """A sealed folder with a file of each sort."""
    own = tmp_path / "model"
    bundle.save_weights(own / "weights.safetensors", {"a.weight": torch.arange(6.0).reshape(2, 3)})
    (own / "plan.json").write_text("{}")
    (own / "learners" / "prior").mkdir(parents=True)
    (own / "learners" / "prior" / "state.json").write_text("{}")
    (own / "private").mkdir()
    (own / "private" / "split.csv").write_text("id,patient,part\nc1,Jane Doe,test\n")
    (own / "checkpoint.safetensors").write_bytes(b"rewritten while training")
    bundle.seal(own, {"galenic": "0.1.0", "seed": 3})
    return own


def change(folder, **fields) -> None:
    path = folder / "provenance.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


class TestVerify:
    def test_a_sealed_folder_is_whole(self, folder):
        kept = bundle.verify(folder)
        assert kept["seed"] == 3
        assert sorted(kept["digests"]) == ["learners/prior/state.json", "plan.json", "weights.safetensors"]

    @settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(data=st.data())
    def test_a_flipped_byte_is_found(self, folder, data):
        name = data.draw(st.sampled_from(["weights.safetensors", "plan.json", "learners/prior/state.json"]))
        whole = (folder / name).read_bytes()
        at, by = data.draw(st.integers(0, len(whole) - 1)), data.draw(st.integers(1, 255))
        (folder / name).write_bytes(whole[:at] + bytes([whole[at] ^ by]) + whole[at + 1 :])
        try:
            with pytest.raises(DigestError, match=name):
                bundle.verify(folder)
        finally:
            (folder / name).write_bytes(whole)
        bundle.verify(folder)

    def test_sealing_takes_away_what_a_kill_left_half_written(self, folder):
        for name in (".aside-1.json", "learners/prior/.aside-2.safetensors", "private/.aside-3.npy"):
            (folder / name).write_text("half")
        bundle.seal(folder, {})
        assert list(folder.rglob(".aside-*")) == []

    def test_a_missing_file_is_named(self, folder):
        (folder / "plan.json").unlink()
        with pytest.raises(DigestError, match=r"plan\.json is missing"):
            bundle.verify(folder)

    def test_a_newer_version_says_what_to_do(self, folder):
        change(folder, format=bundle.FORMAT + 1, galenic="9.0")
        with pytest.raises(NewerVersionError, match="galenic 9") as told:
            bundle.verify(folder)
        assert "pip install -U" in told.value.todo

    @pytest.mark.parametrize(
        "name",
        ["model.pkl", "learners/prior/model.PICKLE", "weights.pt", "net.ckpt", "run.py", "a.npy", "learners/.pkl",
         ".aside-1.pkl", ".git/hook.py", "private/model.pkl", "private/a.npy", "private/cache/a.pkl", "cache/a.npy"],
    )  # fmt: skip
    def test_what_can_run_code_is_refused_before_all_else(self, folder, name):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"\x80\x04.")
        with pytest.raises(UnsafeFile, match="can run code") as told:
            bundle.verify(folder)
        assert f"holds {name}," in told.value.given

    @pytest.mark.parametrize("name", ["notes.txt", "learners/other/state.json", "runtime/net.onnx"])
    def test_what_was_added_is_told(self, folder, name):
        """Learners are found by what lies there, so an added one would be used unchecked."""
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("{}")
        with pytest.raises(DigestError, match=f"{name} .*came after the folder was sealed"):
            bundle.verify(folder)

    @pytest.mark.parametrize(
        "name", [".DS_Store", ".aside-half.json", "learners/.cache/x", "private/notes.txt", "private/cache/1/image.npy"]
    )
    def test_what_is_hidden_or_private_may_come_and_go(self, folder, name):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("x")
        assert bundle.verify(folder)["seed"] == 3

    @pytest.mark.parametrize("name", ["../outside", "/etc/hostname", "a/../../outside", "link", "a\0b"])
    def test_digests_that_point_outside_are_not_followed(self, folder, name):
        (folder.parent / "outside").write_text("secret")
        (folder / "link").symlink_to(folder.parent / "outside")
        change(folder, digests={name: bundle.sha256(folder.parent / "outside")})
        with pytest.raises(UnsafeFile, match="outside"):
            bundle.verify(folder)

    @pytest.mark.parametrize(
        "text",
        ["", "[]", "null", "{}", '{"format": 1}', '{"format": "x", "digests": {}}', '{"format": 1, "digests": 3}',
         "[" * 100_000],
    )  # fmt: skip
    def test_a_damaged_provenance(self, folder, text):
        (folder / "provenance.json").write_text(text)
        with pytest.raises(ModelFolderError, match="damaged"):
            bundle.verify(folder)

    def test_no_folder_and_no_model_folder(self, folder, tmp_path):
        with pytest.raises(MissingFile):
            bundle.verify(tmp_path / "none")
        (folder / "provenance.json").unlink()
        with pytest.raises(ModelFolderError, match="no finished model folder"):
            bundle.verify(folder)


class TestExport:
    def test_it_lacks_what_is_private(self, folder, tmp_path):
        archive = zipfile.ZipFile(bundle.export(folder, tmp_path / "model.zip"))
        assert sorted(archive.namelist()) == [
            "learners/prior/state.json", "plan.json", "provenance.json", "weights.safetensors"
        ]  # fmt: skip
        assert not any(b"Jane Doe" in archive.read(name) for name in archive.namelist())

    def test_what_was_exported_is_a_model_folder(self, folder, tmp_path):
        with zipfile.ZipFile(bundle.export(folder, tmp_path / "model.zip")) as archive:
            for name in archive.namelist():
                path = tmp_path / "copy" / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(archive.read(name))
        assert bundle.verify(tmp_path / "copy") == bundle.verify(folder)

    def test_a_damaged_folder_is_not_exported(self, folder, tmp_path):
        (folder / "plan.json").write_text("{ }")
        with pytest.raises(DigestError):
            bundle.export(folder, tmp_path / "model.zip")
        assert not (tmp_path / "model.zip").exists()


class TestWeights:
    def test_they_come_back_bit_by_bit(self, tmp_path):
        shared = torch.randn(4, 3)
        given_ones = {"a": shared, "b": shared.t(), "c": torch.tensor(3), "d": shared.to(torch.bfloat16)}
        bundle.save_weights(tmp_path / "w.safetensors", given_ones)
        found = bundle.load_weights(tmp_path / "w.safetensors")
        assert all(torch.equal(found[name], tensor) for name, tensor in given_ones.items())

    @pytest.mark.parametrize("keep", [0, 4, 40, -1])
    def test_cut_short(self, tmp_path, keep):
        path = tmp_path / "w.safetensors"
        bundle.save_weights(path, {"a": torch.randn(4, 3)})
        path.write_bytes(path.read_bytes()[:keep])
        with pytest.raises(ModelFolderError, match="damaged"):
            bundle.load_weights(path)

    def test_none(self, tmp_path):
        with pytest.raises(MissingFile):
            bundle.load_weights(tmp_path / "w.safetensors")
