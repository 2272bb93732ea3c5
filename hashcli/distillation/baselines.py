"""Codes from the teacher's features without training, as baselines."""

import numpy as np

from hashcli.distillation.features import Features, UsedItems
from hashcli.distillation.itq import itq_rotation, principal_directions
from hashcli.evaluation.retrieval import DatasetCodes
from hashcli.hashmodel.codes import pack


def baseline_codes(items: UsedItems, features: Features, bits: int, seed: int) -> dict[str, DatasetCodes]:
    """Codes of all items by each baseline. Each modality is centred by its training mean."""
    photos = np.unique(items.trained_photos)
    image, text = features.teacher_image.cpu(), features.teacher_text.cpu()
    image = (image - image[photos].mean(dim=0)).numpy()
    text = (text - text[items.trained].mean(dim=0)).numpy()
    training = np.concatenate([image[photos], text[items.trained]])
    codes = {
        "sign of the teacher's principal directions": principal_signs(training, image, text, bits),
        "ITQ of the teacher": itq(training, image, text, bits, seed),
    }
    return {
        what: DatasetCodes(items.rows, items.text_rows, {"image": image_codes, "text": text_codes}).some_texts(
            items.searched
        )
        for what, (image_codes, text_codes) in codes.items()
    }


def principal_signs(
    training: np.ndarray, image: np.ndarray, text: np.ndarray, bits: int
) -> tuple[np.ndarray, np.ndarray]:
    """Signs of the first principal directions of the training features.

    `training` [m, d] holds both modalities, each centred; `image` [n, d] and `text` [t, d] are centred alike. Returns
    packed codes uint8 [n, bytes] and [t, bytes]. With more bits than directions, the directions are drawn at random.
    """
    directions = principal_directions(training, bits)
    return pack(image @ directions), pack(text @ directions)


def itq(
    training: np.ndarray, image: np.ndarray, text: np.ndarray, bits: int, seed: int, rounds: int = 50
) -> tuple[np.ndarray, np.ndarray]:
    """The same directions, rotated for a small quantisation error: ITQ (Gong and Lazebnik, CVPR 2011)."""
    directions = principal_directions(training, bits)
    rotation = itq_rotation(training @ directions, seed, rounds)
    return pack(image @ directions @ rotation), pack(text @ directions @ rotation)
