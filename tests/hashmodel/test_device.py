"""What a hash model computes on. No GPU is needed: which providers onnxruntime offers, and starts, is pretended."""

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

from hashcli.errors import HashcliError
from hashcli.hashmodel.codes import pack
from hashcli.hashmodel.device import Device, DeviceError, available_devices, choose_device
from hashcli.hashmodel.model import GPU_IMAGE_BATCH, IMAGE_BATCH
from hashcli.hashmodel.registry import load_model
from tests.conftest import PHOTOS, SKIMAGE, Run, json_rows

CUDA, COREML, CPU = "CUDAExecutionProvider", "CoreMLExecutionProvider", "CPUExecutionProvider"


class Pretended:
    """An onnxruntime that offers some providers, of which some do not start. It computes on the CPU."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *offered: str, broken: tuple[str, ...] = ()) -> None:
        self.asked: list[list[str]] = []
        real = onnxruntime.InferenceSession
        outer = self

        class Session:
            def __init__(self, path: str, options: Any, providers: list[Any]) -> None:
                names = [one if isinstance(one, str) else one[0] for one in providers]
                outer.asked.append(names)
                self._started = [name for name in names if name not in broken]
                self._session = real(path, options, providers=[CPU])

            def get_providers(self) -> list[str]:
                return self._started

            def run(self, *arguments: Any) -> Any:
                return self._session.run(*arguments)

        monkeypatch.setattr(onnxruntime, "InferenceSession", Session)
        monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [*offered, CPU])


@pytest.mark.parametrize(
    ("offered", "asked", "chosen"),
    [
        ([], "auto", "cpu"),
        ([], "cpu", "cpu"),
        ([CUDA], "auto", "cuda"),
        ([CUDA], "cuda", "cuda"),
        ([CUDA], "cpu", "cpu"),
        ([COREML], "auto", "coreml"),
        (["AzureExecutionProvider"], "auto", "cpu"),
    ],
)
def test_the_choice(offered: list[str], asked: Device, chosen: str, monkeypatch: pytest.MonkeyPatch) -> None:
    Pretended(monkeypatch, *offered)
    assert choose_device(asked) == chosen


def test_a_device_that_is_not_offered_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    Pretended(monkeypatch)
    with pytest.raises(DeviceError, match=r"cuda cannot be used: .* built without it") as raised:
        choose_device("cuda")
    assert "onnxruntime-gpu" in raised.value.remedy
    with pytest.raises(DeviceError) as raised:
        choose_device("coreml")
    assert "Mac" in raised.value.remedy
    with pytest.raises(HashcliError, match="no device 'tpu'"):
        choose_device("tpu")  # type: ignore[arg-type]


def test_both_encoders_run_on_the_device(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    onnxruntime_ = Pretended(monkeypatch, CUDA)
    model = load_model(tiny_model, device="auto")
    assert (model.device, model.image_batch) == ("cuda", GPU_IMAGE_BATCH)
    paths = [SKIMAGE / "chelsea.png"] * 2
    on_gpu = model.encode_images(paths), model.encode_texts(["cat"])
    assert onnxruntime_.asked == [[CUDA, CPU]] * 2
    plain = load_model(tiny_model)
    assert (plain.device, plain.image_batch) == ("cpu", IMAGE_BATCH)
    assert np.array_equal(plain.encode_images(paths), on_gpu[0])
    assert np.array_equal(plain.encode_texts(["cat"]), on_gpu[1])
    assert onnxruntime_.asked[2:] == [[CPU]] * 2


def test_a_gpu_that_does_not_start(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """onnxruntime-gpu is installed where there is no GPU."""
    Pretended(monkeypatch, CUDA, broken=(CUDA,))
    assert load_model(tiny_model, device="auto").device == "cpu"
    with pytest.raises(DeviceError, match="has found no GPU"):
        load_model(tiny_model, device="cuda")


def test_index_and_encode_say_what_they_use(
    hashcli: Run, photos: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encode = ("encode", "--text", "cat", "--model", tiny_model)
    index = ("index", photos, "--index", "ix", "--model", tiny_model)
    plain = hashcli(*encode)
    assert plain.stderr == ""
    pretended = Pretended(monkeypatch, CUDA)
    done = hashcli(*encode, "--device", "cuda")
    assert (done.stdout, done.stderr) == (plain.stdout, "Encoding on a GPU, by cuda.\n")
    assert hashcli(*encode, "--device", "cpu").stderr == "Encoding on the CPU.\n"
    assert hashcli(*index, "--device", "auto").stderr.splitlines() == [
        "Encoding on a GPU, by cuda.",
        "12 added, 0 skipped",
    ]
    del pretended.asked[:]
    assert hashcli(*index).stderr == "0 added, 12 unchanged, 0 skipped\n"  # an index records no device
    assert json_rows(hashcli("search", "cat", "--index", "ix", "--all", "--json"))
    assert all(names == [CPU] for names in pretended.asked)
    missing = hashcli(*index, "--device", "coreml", status=1)
    assert "The device coreml cannot be used" in missing.stderr


@pytest.mark.skipif(available_devices() == ["cpu"], reason="onnxruntime has no provider for a GPU here")
def test_a_gpu_gives_the_same_codes() -> None:
    """Within 0.5 % of the bits."""
    model, on_gpu = load_model("lite-256"), load_model("lite-256", device="auto")
    if on_gpu.device == "cpu":
        pytest.skip("onnxruntime's provider for a GPU does not start here")
    photos, texts = [SKIMAGE / name for name in PHOTOS], list(PHOTOS.values())
    for ours, its in (
        (model.encode_images(photos), on_gpu.encode_images(photos)),
        (model.encode_texts(texts), on_gpu.encode_texts(texts)),
    ):
        assert np.bitwise_count(pack(ours) ^ pack(its)).sum() <= 0.005 * ours.size
