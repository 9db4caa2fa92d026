# SPDX-License-Identifier: Apache-2.0
"""Foreign checkpoint files: accepted and refused content."""

import argparse
import gzip
import os
import tarfile
import zipfile

import numpy
import pytest
import torch
from safetensors.torch import save_file

from admn_ros.errors import ModelError
from admn_ros.model.official.safe_unpickle import read_foreign

STATE = {"cls_token": torch.ones(1, 1, 2), "norm.bias": torch.arange(2.0)}
SHAPES = {
    "bare": STATE,
    "model": {"model": STATE, "epoch": 3},
    "state_dict": {"state_dict": STATE, "best": 0.5},
    "model_state_dict": {"model_state_dict": STATE},
    "both": {"model": {"state_dict": STATE}},
    "module": {"model": {f"module.{k}": v for k, v in STATE.items()}},
    "compiled": {f"_orig_mod.{k}": v for k, v in STATE.items()},
    "compiled and parallel": {"net": {f"module._orig_mod.module.{k}": v for k, v in STATE.items()}},
    "compiled part": {"cls_token": STATE["cls_token"], "norm._orig_mod.bias": STATE["norm.bias"]},
    "average alone": {"state_dict_ema": STATE, "epoch": 2},
    "weights and average": {"state_dict_ema": {k: -v for k, v in STATE.items()}, "state_dict": STATE},
    "other key": {"student_weights": STATE, "score": torch.tensor(0.5), "optimizer": {"lr": 0.1}},
    "score beside": {"model": STATE, "best_acc1": torch.tensor(71.0)},
    "optimizer": {"model": STATE, "optimizer": {"state": {}, "param_groups": []}},
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("suffix", [".pt", ".bin", ".pth.tar", ".ckpt", ""])
def test_wrappers_and_prefixes_are_removed(tmp_path, shape, suffix):
    torch.save(SHAPES[shape], tmp_path / f"c{suffix}")
    state = read_foreign(tmp_path / f"c{suffix}")
    assert set(state) == set(STATE)
    assert all(torch.equal(state[k], STATE[k]) for k in STATE)


def test_safetensors(tmp_path):
    save_file(STATE, tmp_path / "c.safetensors")
    assert torch.equal(read_foreign(tmp_path / "c.safetensors")["norm.bias"], torch.arange(2.0))


@pytest.mark.skipif(not hasattr(torch.serialization, "safe_globals"), reason="PyTorch before 2.5")
def test_a_command_line_beside_the_weights_is_read(tmp_path):
    torch.save({"model": STATE, "args": argparse.Namespace(lr=0.1)}, tmp_path / "c.pth")
    assert set(read_foreign(tmp_path / "c.pth")) == set(STATE)


class Evil:
    def __reduce__(self):
        return print, ("this code ran",)


def test_code_is_refused_in_one_line_and_does_not_run(tmp_path, capsys):
    torch.save({"model": STATE, "extra": Evil()}, tmp_path / "c.pth")
    with pytest.raises(ModelError, match=r"only code could rebuild \(print\)") as info:
        read_foreign(tmp_path / "c.pth")
    assert "\n" not in str(info.value)
    assert "this code ran" not in capsys.readouterr().out


@pytest.mark.parametrize(("name", "content", "what"), [
    ("c.pt", b"", "found an empty file"), ("c.pth", b"PK\x03\x04 not a checkpoint", "broken"),
    ("c.pt", b"\x80\x02garbage", "broken"), ("c.safetensors", b"\x00" * 4, "broken"), ("c.onnx", b"x", ".onnx"),
    ("c.pth", b"Entry not found", "a broken or other file, which begins with b'Entry not found'; allowed: "),
    ("c.json", b'{"weight_map": {"w": "1.safetensors"}}', "a broken or other file, which begins with"),
    ("c.bin", bytes(1000), "a broken or other file")])
def test_files_that_cannot_be_read(tmp_path, name, content, what):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ModelError, match=what) as info:
        read_foreign(tmp_path / name)
    assert "\n" not in str(info.value)


def test_a_missing_file(tmp_path):
    with pytest.raises(ModelError, match="missing; required: a checkpoint file"):
        read_foreign(tmp_path / "absent.pt")
    torch.save({"epoch": 3}, tmp_path / "c.pt")
    with pytest.raises(ModelError, match="without weights"):
        read_foreign(tmp_path / "c.pt")
    torch.save([1, 2], tmp_path / "l.pt")
    with pytest.raises(ModelError, match="list"):
        read_foreign(tmp_path / "l.pt")


# --- files that are made to harm, and accidents -----------------------------------------------------


def _refused(path, what):
    with pytest.raises(ModelError, match=what) as info:
        read_foreign(path)
    assert "\n" not in str(info.value)
    assert str(path) in info.value.field


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.99])
def test_a_truncated_file(tmp_path, suffix, share):
    path, state = tmp_path / f"c{suffix}", {"w": torch.arange(4000.0)}
    save_file(state, path) if suffix == ".safetensors" else torch.save(state, path)
    path.write_bytes(path.read_bytes()[:int(share * path.stat().st_size)])
    _refused(path, "broken")


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".bin", ".safetensors"])
def test_a_text_file_with_the_name_of_a_checkpoint(tmp_path, suffix):
    path = tmp_path / f"c{suffix}"
    path.write_text("version https://git-lfs.github.com/spec/v1\nsize 343249461\n" * 9)
    _refused(path, "a Git LFS pointer; `git lfs pull`")


@pytest.mark.parametrize("name", ["c.pth", "weights.safetensors", "c.ckpt"])
@pytest.mark.parametrize(("content", "what"), [
    (b"<!DOCTYPE html><html><title>Sign in</title>", "found a web page; allowed: a checkpoint as torch.save"),
    (gzip.compress(b"x" * 9, mtime=0), "a gzip archive; unpack it"),
    (b"\x00" * 257 + b"ustar\x00", "a tar archive; unpack it"),
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file"), (b"\x93NUMPY\x01\x00", "a NumPy array")])
def test_other_content_is_named(tmp_path, name, content, what):
    (tmp_path / name).write_bytes(content)
    _refused(tmp_path / name, what)


def test_other_archives_are_named(tmp_path):
    numpy.savez(tmp_path / "c.npz", kernel=numpy.zeros(3))
    _refused(tmp_path / "c.npz", r"a zip archive with kernel\.npy")
    with tarfile.open(tmp_path / "c.tar.gz", "w:gz") as archive:
        archive.add(tmp_path / "c.npz", "c.npz")
    _refused(tmp_path / "c.tar.gz", "a gzip archive")
    os.mkfifo(tmp_path / "pipe.pth")
    _refused(tmp_path / "pipe.pth", "a device or a pipe")
    _refused(tmp_path, "Is a directory")


def test_weights_at_another_place_are_found_by_a_key(tmp_path):
    other = {name: -value for name, value in STATE.items()}
    torch.save({"student": {f"module.backbone.{k}": v for k, v in STATE.items()}, "teacher": other, "epoch": 3},
               tmp_path / "c.pth")
    _refused(tmp_path / "c.pth", "a dict with student, teacher, epoch without weights; .* --key names another place")
    for key, state in (("teacher", other), ("student.backbone", STATE)):
        found = read_foreign(tmp_path / "c.pth", key)
        assert set(found) == set(STATE) and all(torch.equal(found[k], state[k]) for k in STATE)
    with pytest.raises(ModelError, match=r"--key: found pupil; allowed: a place in .*c\.pth, which is a dict with "):
        read_foreign(tmp_path / "c.pth", "pupil")


def test_a_dict_that_contains_itself(tmp_path):
    held = {"epoch": 3}
    held["model"] = held
    torch.save(held, tmp_path / "c.pth")
    _refused(tmp_path / "c.pth", "a dict with epoch, model without weights")


def test_a_program_is_no_checkpoint(tmp_path):
    torch.jit.save(torch.jit.script(torch.nn.Identity()), str(tmp_path / "c.pt"))
    _refused(tmp_path / "c.pt", "a program of TorchScript; allowed: its state dict")


def test_two_weights_of_one_name_are_refused(tmp_path):
    torch.save({"w": torch.ones(1), "module.w": torch.zeros(1)}, tmp_path / "c.pth")
    _refused(tmp_path / "c.pth", "w: found two weights of this name; allowed: one; --key")


def test_a_compressed_archive_is_refused(tmp_path):
    path, packed = tmp_path / "c.pt", tmp_path / "d.pt"
    torch.save({"w": torch.zeros(2_000_000)}, path)
    with zipfile.ZipFile(path) as plain, zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as small:
        for entry in plain.infolist():
            small.writestr(entry.filename, plain.read(entry))
    assert packed.stat().st_size < 100_000
    _refused(packed, "compressed")


@pytest.mark.parametrize(("value", "what"), [
    (torch.zeros(1).expand(1000, 1000), "fewer stored values"),
    (torch.eye(3).to_sparse(), "sparse"),
    (torch.zeros(3, dtype=torch.complex64), "complex"),
    (torch.empty(3, device="meta"), "empty")])
def test_tensors_that_are_not_plain_numbers(tmp_path, value, what):
    torch.save({"good": torch.ones(2), "blocks.0.bad": value}, tmp_path / "c.pt")
    with pytest.raises(ModelError, match=what) as info:
        read_foreign(tmp_path / "c.pt")
    assert info.value.field.endswith("blocks.0.bad")


def test_a_slice_of_a_larger_tensor_is_plain(tmp_path):
    torch.save({"w": torch.arange(10.0)[2:5], "t": torch.ones(2, 3).T}, tmp_path / "c.pt")
    assert read_foreign(tmp_path / "c.pt")["w"].tolist() == [2, 3, 4]
