"""The photos and texts that a run uses, their features, and the training set made from these."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from hashcli.datasets.dataset import ImageTextDataset
from hashcli.datasets.splits import Split
from hashcli.datasets.vocabulary import bag_of_words, build_vocabulary, read_vocabulary, texts_of
from hashcli.distillation.feature_cache import FeatureCache
from hashcli.distillation.feature_files import VectorImageTower, VectorTextTower
from hashcli.distillation.open_towers import Towers
from hashcli.distillation.settings import Settings, text_parts
from hashcli.distillation.token_bag import bag_of, join
from hashcli.distillation.towers import ImageTower, TextTower
from hashcli.distillation.training_set import SupervisedRows, TrainingSet
from hashcli.errors import HashcliError


@dataclass(frozen=True)
class Features:
    """What the towers see of n photos and their t texts.

    All are float32: `teacher_image` [n, teacher width] and `teacher_text` [t, teacher width] of unit length, `image`
    [n, width of the student's image tower], `text` [t, words], [t, width of its text tower] or both joined. `photo_of`
    int64 [t] is each text's place among `photos`, the n files.
    """

    photos: Sequence[Path]
    photo_of: Tensor
    teacher_image: Tensor
    teacher_text: Tensor
    image: Tensor
    text: Tensor

    def part(self, photos: Tensor) -> "Features":
        """Some photos, by their places in ascending order, and all their texts."""
        photos = photos.to(self.photo_of.device)
        texts = torch.isin(self.photo_of, photos).nonzero().flatten()
        return Features(
            [self.photos[place] for place in photos.tolist()],
            torch.searchsorted(photos, self.photo_of[texts]),
            self.teacher_image[photos],
            self.teacher_text[texts],
            self.image[photos],
            self.text[texts],
        )

    def to(self, device: torch.device) -> "Features":
        """The same on a device."""
        return replace(self, **{name: one.to(device) for name, one in vars(self).items() if isinstance(one, Tensor)})


@dataclass(frozen=True)
class UsedItems:
    """The photos of a split with their texts.

    `rows` int64 [n] are the photos' rows in the dataset, in ascending order. `photo_of` int64 [t] is each text's place
    among the photos, `trained` int64 [m] are the places of the texts that are trained on, and `searched` int64 those of
    the texts that are evaluated. All texts are one or the other, or both.
    """

    rows: np.ndarray
    photos: list[Path]
    texts: list[str]
    photo_of: np.ndarray
    trained: np.ndarray
    searched: np.ndarray

    @classmethod
    def of_split(cls, dataset: ImageTextDataset, split: Split) -> "UsedItems":
        rows = np.unique(np.concatenate([split.query, split.database, split.train, split.validation]))
        is_trained = np.isin(rows, split.train)
        texts = [
            dataset.texts[row] if trained else dataset.searched_texts(row)
            for row, trained in zip(rows, is_trained, strict=True)
        ]
        photo_of = np.arange(len(rows)).repeat([len(of_photo) for of_photo in texts])
        places = np.concatenate([np.empty(0, np.int64), *(np.arange(len(of_photo)) for of_photo in texts)])
        return cls(
            rows=rows,
            photos=[dataset.images[row] for row in rows],
            texts=[text for of_photo in texts for text in of_photo],
            photo_of=photo_of,
            trained=np.flatnonzero(is_trained[photo_of]),
            searched=np.flatnonzero(places < (dataset.searched or np.inf)),
        )

    @property
    def text_rows(self) -> np.ndarray:
        """int64 [t]: the row of each text's photo in the dataset."""
        return np.asarray(self.rows[self.photo_of])

    @property
    def trained_photos(self) -> np.ndarray:
        """int64 [m]: the place of each training text's photo among the photos."""
        return np.asarray(self.photo_of[self.trained])

    @property
    def trained_rows(self) -> np.ndarray:
        """int64 [m]: the row of each training text's photo in the dataset."""
        return np.asarray(self.text_rows[self.trained])


@dataclass(frozen=True)
class TeacherFeatures:
    """The teacher's features of n photos and t texts, float32 of unit length: `image` [n, width], `text` [t, width]."""

    image: Tensor
    text: Tensor


def check_vectors(items: UsedItems, towers: Towers) -> None:
    """Raises HashcliError if teacher or student is vectors in files, and some item has none."""
    for image in (towers.teacher_image, towers.student_image):
        if isinstance(image, VectorImageTower):
            image.look_up([*map(str, items.photos)])
    for text in (None if towers.knows_photos_alone else towers.teacher_text, towers.student_text):
        if isinstance(text, VectorTextTower):
            text.encode_texts(items.texts)


def encode_for_teacher(items: UsedItems, towers: Towers, cache: FeatureCache) -> TeacherFeatures:
    """The teacher's features of all items. A text stands for its photo where the teacher is vectors of photos alone."""
    image = unit_rows(cache.images(towers.teacher_image, items.photos))
    if towers.knows_photos_alone:
        return TeacherFeatures(image, image[items.photo_of])
    return TeacherFeatures(image, unit_rows(cache.texts(towers.teacher_text, items.texts)))


def encode_photos(items: UsedItems, tower: ImageTower, cache: FeatureCache) -> Tensor:
    """The features of all photos by the student's tower: float32 [n, width] of unit length."""
    return unit_rows(cache.images(tower, items.photos))


def encode_texts(items: UsedItems, towers: Towers, vocabulary: list[str], cache: FeatureCache) -> Tensor:
    """What the student sees of all texts: its text tower's features, bags of the vocabulary's words, or both joined."""
    features = unit_rows(cache.texts(towers.student_text, items.texts)) if towers.student_text else None
    if features is not None and not towers.student_bag:
        return features
    bag = bag_of(towers.student_text, vocabulary)
    bags = torch.from_numpy(bag.bags(items.texts) if bag else bag_of_words(items.texts, vocabulary)).float()
    return bags if features is None else join(features, bags)


def new_words(dataset: ImageTextDataset, split: Split, settings: Settings) -> list[str]:
    """The words by which an update makes the student's bag larger: none without a bag, or for words from a file."""
    return [] if settings.vocabulary else choose_vocabulary(dataset, split, settings)


def choose_vocabulary(dataset: ImageTextDataset, split: Split, settings: Settings) -> list[str]:
    """The words of the student's bag: those of a file, or the ones in most training texts; none without a bag."""
    if not text_parts(settings.text)[0]:
        return []
    if settings.vocabulary:
        return read_vocabulary(Path(settings.vocabulary))
    return build_vocabulary(texts_of(dataset, split.train), settings.words)


def distinct_words(words: list[str], tower: TextTower | None) -> list[str]:
    """The words that a bag can hold: beside a text tower, those that its tokenizer can tell apart."""
    bag = bag_of(tower, words)
    return bag.words if bag else words


def make_supervised_rows(
    items: UsedItems, dataset: ImageTextDataset, teacher: TeacherFeatures, settings: Settings
) -> SupervisedRows:
    """The training rows as the teacher sees them, with the share `labelled` of their labels."""
    photos = np.unique(items.trained_photos)
    labels = None
    if dataset.labels is not None:
        labels = torch.from_numpy(dataset.labels[items.trained_rows]).float()
        known = photos[dataset.labelled[items.rows[photos]]]
        labels[~np.isin(items.trained_photos, _keep_their_labels(known, settings))] = 0
    return SupervisedRows(
        photos=[items.photos[place] for place in photos],
        photo_of=torch.from_numpy(np.searchsorted(photos, items.trained_photos)),
        teacher_image=teacher.image[items.trained_photos],
        teacher_text=teacher.text[items.trained],
        labels=labels,
        label_names=dataset.label_names,
        neighbours=settings.neighbours,
    )


def _keep_their_labels(photos: np.ndarray, settings: Settings) -> np.ndarray:
    """The share `labelled` of the photos. A smaller share of the same seed is part of a larger one."""
    order = np.random.default_rng(settings.seed).permutation(photos)
    return order[: round(settings.labelled * len(photos))]


def make_training_set(rows: SupervisedRows, items: UsedItems, features: Features, towers: Towers) -> TrainingSet:
    """The same rows with what the student sees of them."""
    return TrainingSet(
        photos=rows.photos,
        photo_of=rows.photo_of,
        teacher_image=rows.teacher_image,
        teacher_text=rows.teacher_text,
        labels=rows.labels,
        label_names=rows.label_names,
        neighbours=rows.neighbours,
        image=features.image[items.trained_photos],
        text=features.text[items.trained],
        prompts=partial(encode_prompts, towers.teacher_text),
        teacher_tower=towers.teacher_image,
    )


def encode_prompts(tower: TextTower, sentences: list[str]) -> Tensor:
    """float32 [n, width] of unit length. Repeated sentences are encoded once: there are few sets of labels."""
    different = sorted(set(sentences))
    try:
        encoded = functional.normalize(torch.from_numpy(tower.encode_texts(different)))
    except HashcliError as error:  # vectors in a file, without those of the prompts
        remedy = 'Add vectors of the sentences that labels become, or set label_input to "classes", which needs none.'
        raise HashcliError(error.problem, remedy) from error
    return encoded[[different.index(sentence) for sentence in sentences]]


def unit_rows(features: np.ndarray) -> Tensor:
    """A copy in memory, each row of unit length."""
    return functional.normalize(torch.from_numpy(np.array(features)))
