"""A hash model in memory: images and texts in, float outputs out."""

import os
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hashcli.errors import HashcliError, reason_of
from hashcli.hashmodel import description as descriptions
from hashcli.plain_files import open_plain, read_plain, state_of

if TYPE_CHECKING:
    from PIL import Image

    from hashcli.hashmodel.device import Device
    from hashcli.hashmodel.tokenizer import KnownWords

IMAGE_BATCH = 16  # enough to keep two to eight cores busy; a kill loses at most the batch in flight
GPU_IMAGE_BATCH = 64
TEXT_BATCH = 32


class HashModel:
    """A hash model folder, opened. See `load_model` to open one by name.

    The two encoders are loaded when first used, so that a text query never loads the image encoder. With `verify`, the
    digest of every encoder file is checked first; a single search does without, because reading them takes a moment.

    `device` is "cpu", "cuda", "coreml", or "auto" for the first GPU that works, else the CPU. For any but "cpu", the
    image encoder is loaded at once, to see whether it works there.

    Raises HashcliError when the folder is missing, damaged or of another format, and DeviceError for a device that is
    not there.
    """

    def __init__(self, folder: str | Path, *, verify: bool = False, device: "Device" = "cpu") -> None:
        self.folder = Path(folder).expanduser()
        self._state = state_of(self.folder / descriptions.FILE_NAME)
        self.description = descriptions.read(self.folder)
        if verify:
            descriptions.verify(self.folder, self.description)
        self._device = "cpu" if device == "cpu" else self._working_device(device)

    @property
    def device(self) -> str:
        """What it computes on: "cpu", "cuda" or "coreml"."""
        return self._device

    @property
    def is_current(self) -> bool:
        """Whether its folder still holds the model that was opened."""
        return state_of(self.folder / descriptions.FILE_NAME) == self._state

    @property
    def image_batch(self) -> int:
        """How many photos are best encoded together."""
        return IMAGE_BATCH if self._device == "cpu" else GPU_IMAGE_BATCH

    @property
    def name(self) -> str:
        """The name in its model.json."""
        return self.description.name

    @property
    def bits(self) -> int:
        """The length of a code, and the number of outputs an item has."""
        return self.description.bits

    @property
    def fingerprint(self) -> str:
        """Codes may be compared when the fingerprints of their models are the same."""
        return self.description.fingerprint

    def encode_texts(self, texts: Iterable[str]) -> np.ndarray:
        """Texts to float32 [n, bits], in order. Each text is read up to the model's `max_tokens`.

            model.encode_texts(["a dog on a beach", "snow"])  # float32 [2, bits]

        Raises TypeError for a single text, and HashcliError when the text encoder cannot be loaded.
        """
        if isinstance(texts, str):
            raise TypeError('texts must be a list of texts, such as ["a dog"], not a single text')
        texts = list(texts)
        batches = [self._encode_text_batch(texts[i : i + TEXT_BATCH]) for i in range(0, len(texts), TEXT_BATCH)]
        return np.concatenate([np.empty((0, self.bits), np.float32), *batches])

    def known_words(self, text: str) -> "KnownWords":
        """Whether the model knows any word of a text, and the words that it does not know.

        The output of a text without a known word means nothing. A student that reads bags of words knows those of its
        vocabulary; a model that splits words into pieces, all or those of its `word_list`; and CLIP's cannot tell.

            model.known_words("a dog on a xylophone").unknown  # ("xylophone",) if it is not in the vocabulary
        """
        from hashcli.hashmodel.tokenizer import known_words

        listed = self.description.word_list
        return known_words(self._tokenizer, _readable(text), (lambda word: word in self._word_list) if listed else None)

    def reads_whole(self, word: str) -> bool:
        """Whether the model has a token for a word as a whole. It takes most names to pieces, or does not know them."""
        from hashcli.hashmodel.tokenizer import reads_whole

        return reads_whole(self._tokenizer, word)

    def encode_images(self, images: "Iterable[str | os.PathLike[str] | Image.Image]") -> np.ndarray:
        """Photos to float32 [n, bits], in order. Each is the path of a file, or an image that Pillow has opened.

            model.encode_images(["beach.jpg", Path("~/Pictures/dog.heic"), PIL.Image.open(file)])

        Raises HashcliError naming the first photo that cannot be read, where `encode_image_files` would go on; and
        TypeError for a single photo.
        """
        from hashcli.hashmodel.prefetch import batched, prefetch

        if isinstance(images, str | os.PathLike):
            raise TypeError('images must be a list of photos, such as ["dog.jpg"], not a single photo')
        sources = (_path_or_copy(image, number) for number, image in enumerate(images, start=1))
        outputs = [np.empty((0, self.bits), np.float32)]
        for batch in batched(prefetch(self._any_pixels, sources, look_ahead=2 * self.image_batch), self.image_batch):
            pixels = []
            for source, result in batch:
                if isinstance(result, Exception):
                    raise HashcliError(f"{source} cannot be read: {reason_of(result)}.") from result
                pixels.append(result)
            outputs.append(self.encode_pixels(np.stack(pixels)))
        return np.concatenate(outputs)

    def encode_image_files(self, paths: Iterable[str]) -> Iterator[tuple[str, np.ndarray | Exception]]:
        """Yield (path, its output) in the order given, while the next photos are being decoded.

        The output is float32 [bits], or the exception that says why the photo cannot be encoded.
        """
        from hashcli.hashmodel.prefetch import batched, prefetch

        for batch in batched(prefetch(self.load_pixels, paths, look_ahead=2 * self.image_batch), self.image_batch):
            pixels = [result for _, result in batch if isinstance(result, np.ndarray)]
            outputs = iter(self.encode_pixels(np.stack(pixels)) if pixels else [])
            for path, result in batch:
                yield path, (result if isinstance(result, Exception) else next(outputs))

    def encode_pixels(self, pixels: np.ndarray) -> np.ndarray:
        """Pixels as `load_pixels` gives them, uint8 [n, size, size, 3] RGB, to float32 [n, bits]."""
        return self._outputs(self._image_session, {"pixels": pixels})

    def load_pixels(self, path: str | Path) -> np.ndarray:
        """An image file as the pixels that this model reads, uint8 [size, size, 3] RGB.

        Raises formats.UnreadableImageError for content that cannot be decoded, and OSError for a file that cannot be
        read now.
        """
        from hashcli.hashmodel.images import load_pixels

        encoder = self.description.image
        return load_pixels(path, encoder.size, encoder.resize, encoder.interpolation)

    def pixels_of(self, image: "Image.Image") -> np.ndarray:
        """The same from an image that is `images.opened`."""
        from hashcli.hashmodel.images import pixels_of

        encoder = self.description.image
        return pixels_of(image, encoder.size, encoder.resize, encoder.interpolation)

    def _any_pixels(self, image: "str | Image.Image") -> np.ndarray:
        return self.load_pixels(image) if isinstance(image, str) else self.pixels_of(image)

    def _encode_text_batch(self, texts: Sequence[str]) -> np.ndarray:
        tokenizer = self._tokenizer
        try:
            rows = tokenizer.encode_batch([_readable(text) for text in texts])
        except (KeyboardInterrupt, SystemExit, MemoryError):
            raise
        except BaseException as error:  # the library raises nothing narrower, not even for a panic
            raise HashcliError(
                f"{self.folder / self.description.text.tokenizer} fails ({error}).", "Copy the hash model folder again."
            ) from error
        return self._outputs(
            self._text_session,
            {
                "input_ids": np.array([row.ids for row in rows], np.int64),  # [n, tokens]
                "attention_mask": np.array([row.attention_mask for row in rows], np.int64),
            },
        )

    def _outputs(self, session: Any, inputs: dict[str, np.ndarray]) -> np.ndarray:
        try:
            (outputs,) = session.run(["output"], inputs)
        except Exception as error:  # the library raises nothing narrower
            raise HashcliError(
                f"An encoder of {self.folder} fails ({error}).", "Copy the hash model folder again."
            ) from error
        if not isinstance(outputs, np.ndarray) or outputs.dtype != np.float32:
            raise HashcliError(f"An encoder of {self.folder} does not give numbers of type float32.")
        expected = (len(next(iter(inputs.values()))), self.bits)
        if outputs.shape != expected:
            raise HashcliError(
                f"An encoder of {self.folder} gives an output of shape {list(outputs.shape)}, where its description "
                f"says {list(expected)}."
            )
        return outputs

    @cached_property
    def _image_session(self) -> Any:
        return self._session(self.description.image.file, threads=0, optimise=True)

    @cached_property
    def _text_session(self) -> Any:
        # It is stored optimised: to optimise it here would take ten times as long. A query is too short for threads.
        return self._session(self.description.text.file, threads=1, optimise=False)

    @cached_property
    def _tokenizer(self) -> Any:
        from hashcli.hashmodel.tokenizer import load_tokenizer

        encoder = self.description.text
        return load_tokenizer(self.folder / encoder.tokenizer, encoder.max_tokens)

    @cached_property
    def _word_list(self) -> frozenset[str]:
        path = self.folder / (self.description.word_list or "")
        try:
            return frozenset(read_plain(path).decode().split())
        except (OSError, ValueError) as error:
            raise HashcliError(
                f"{path} cannot be read: {reason_of(error)}.", "Copy the hash model folder again."
            ) from error

    def _working_device(self, asked: "Device") -> str:
        from hashcli.hashmodel import device as devices

        self._device = chosen = devices.choose_device(asked)
        if chosen == "cpu":
            return chosen
        devices.load_libraries(chosen)
        if devices.runs_on(self._image_session, chosen):
            return chosen
        if asked == "auto":
            return "cpu"  # which is what the session fell back to
        raise devices.DeviceError(chosen, "onnxruntime has found no GPU or not all of its libraries")

    def _session(self, file: str, *, threads: int, optimise: bool) -> Any:
        os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # or it would write an id to disk and report to its maker
        import onnxruntime as ort

        from hashcli.hashmodel.device import providers

        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # the cores are for decoding images
        if not optimise:
            options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.log_severity_level = 3
        try:
            open_plain(self.folder / file).close()  # or a pipe would be waited for
            return ort.InferenceSession(str(self.folder / file), options, providers=providers(self._device))
        except PermissionError as error:
            raise HashcliError(f"{self.folder / file} cannot be read: {reason_of(error)}.") from error
        except Exception as error:  # the library raises nothing narrower
            raise HashcliError(
                f"{self.folder / file} cannot be loaded ({error}).", "Copy the hash model folder again."
            ) from error


def _readable(text: str) -> str:
    """A text from a command line may hold bytes that are not UTF-8."""
    return text.encode(errors="replace").decode()


def _path_or_copy(image: "str | os.PathLike[str] | Image.Image", number: int) -> "str | Image.Image":
    """What `encode_images` may decode. Decoding changes an open image, so the caller's is copied, in one thread."""
    from hashcli.hashmodel.formats import UnreadableImageError
    from hashcli.hashmodel.images import copied

    if isinstance(image, str | os.PathLike):
        return os.path.expanduser(os.fspath(image))
    try:
        return copied(image)
    except UnreadableImageError as error:
        raise HashcliError(f"Image {number} of those given cannot be read: {error}.") from error
