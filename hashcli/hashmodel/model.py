"""A hash model in memory: pixels and texts in, float outputs out."""

import os
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hashcli.errors import HashcliError
from hashcli.hashmodel import description as descriptions

if TYPE_CHECKING:
    from PIL import Image

IMAGE_BATCH = 16  # enough to keep two to eight cores busy; a kill loses at most the batch in flight
TEXT_BATCH = 32


class HashModel:
    """A hash model folder, opened. The two encoders load when first used: a text query never loads the image one.

    `verify` reads every encoder file and compares its digest first; a single query goes without.
    Raises HashcliError when the folder is missing, damaged or of another format.
    """

    def __init__(self, folder: Path, *, verify: bool = False) -> None:
        self.folder = folder
        self.description = descriptions.read(folder)
        if verify:
            descriptions.verify(folder, self.description)

    @property
    def name(self) -> str:
        return self.description.name

    @property
    def bits(self) -> int:
        return self.description.bits

    @property
    def fingerprint(self) -> str:
        return self.description.fingerprint

    def load_pixels(self, path: str) -> np.ndarray:
        """An image file as the uint8 [size, size, 3] this model reads. Raises images.UnreadableImageError."""
        from hashcli.hashmodel.images import load_pixels

        return load_pixels(path, self.description.image.size, self.description.image.resize)

    def pixels_of(self, image: "Image.Image") -> np.ndarray:
        """The same of an image that is `images.opened`."""
        from hashcli.hashmodel.images import pixels_of

        return pixels_of(image, self.description.image.size, self.description.image.resize)

    def encode_pixels(self, pixels: np.ndarray) -> np.ndarray:
        """uint8 [n, size, size, 3] RGB to float32 [n, bits]."""
        return self._outputs(self._image_session, {"pixels": pixels})

    def encode_image_files(self, paths: Iterable[str]) -> Iterator[tuple[str, np.ndarray | Exception]]:
        """Yield (path, float32 [bits] or the reason it has none) in order, decoding ahead of the encoder."""
        from hashcli.hashmodel.prefetch import batched, prefetch

        for batch in batched(prefetch(self.load_pixels, paths, look_ahead=2 * IMAGE_BATCH), IMAGE_BATCH):
            pixels = [result for _, result in batch if isinstance(result, np.ndarray)]
            outputs = iter(self.encode_pixels(np.stack(pixels)) if pixels else [])
            for path, result in batch:
                yield path, (result if isinstance(result, Exception) else next(outputs))

    def encode_texts(self, texts: Sequence[str]) -> np.ndarray:
        """Texts to float32 [n, bits]. Each is read up to the model's `max_tokens`."""
        batches = [self._encode_text_batch(texts[i : i + TEXT_BATCH]) for i in range(0, len(texts), TEXT_BATCH)]
        return np.concatenate([np.empty((0, self.bits), np.float32), *batches])

    def _encode_text_batch(self, texts: Sequence[str]) -> np.ndarray:
        readable = [text.encode(errors="replace").decode() for text in texts]  # bytes that are not UTF-8
        rows = self._tokenizer.encode_batch(readable)
        return self._outputs(
            self._text_session,
            {
                "input_ids": np.array([row.ids for row in rows], np.int64),  # [n, tokens]
                "attention_mask": np.array([row.attention_mask for row in rows], np.int64),
            },
        )

    def _outputs(self, session: Any, inputs: dict[str, np.ndarray]) -> np.ndarray:
        (outputs,) = session.run(["output"], inputs)
        if outputs.shape[1] != self.bits:
            raise HashcliError(f"{self.folder} gives {outputs.shape[1]} outputs an item, not the {self.bits} it says.")
        return np.asarray(outputs)

    @cached_property
    def _image_session(self) -> Any:
        return self._session(self.description.image.file, threads=0, optimise=True)

    @cached_property
    def _text_session(self) -> Any:
        # Stored already optimised: optimising at load would cost ten times the load. A query is too short for threads.
        return self._session(self.description.text.file, threads=1, optimise=False)

    @cached_property
    def _tokenizer(self) -> Any:
        from tokenizers import Tokenizer

        path = self.folder / self.description.text.tokenizer
        try:
            tokenizer = Tokenizer.from_file(str(path))
        except Exception as error:  # the library raises nothing narrower
            raise HashcliError(f"{path} cannot be loaded ({error}).", "Copy the hash model folder again.") from error
        tokenizer.enable_truncation(self.description.text.max_tokens)
        tokenizer.enable_padding()
        return tokenizer

    def _session(self, file: str, *, threads: int, optimise: bool) -> Any:
        os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # it would write an id to disk and call its maker
        import onnxruntime as ort

        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # the decoders need the cores
        if not optimise:
            options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.log_severity_level = 3
        try:
            return ort.InferenceSession(str(self.folder / file), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # the library raises nothing narrower
            raise HashcliError(
                f"{self.folder / file} cannot be loaded ({error}).", "Copy the hash model folder again."
            ) from error
