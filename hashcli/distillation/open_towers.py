"""Opens the towers of a run by the names in its settings.

A tower's name is one of
    NAME or FOLDER              a hash model, by its float outputs: needs no network
    ARCH/PRETRAINED             open_clip, for instance ViT-B-32/datacomp_xl_s13b_b90k; open_clip downloads it once
    ARCH/FILE                   open_clip, with weights from a file
    hf-hub:OWNER/NAME           open_clip, from the Hugging Face hub
    local-dir:FOLDER            open_clip, from a folder
    timm:NAME                   a timm image backbone, with the weights of its publisher (students only)
    timm:NAME/FILE              the same, with weights from a file
    features:FILE               vectors that another program has computed; see feature_files.py
With `random` in place of PRETRAINED or FILE, the weights stay untrained, for tests and ablations.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch

from hashcli.distillation.feature_files import PREFIX, VectorImageTower, VectorTextTower, vector_towers
from hashcli.distillation.pretrained_towers import HUB, LOCAL, open_clip_towers, timm_tower
from hashcli.distillation.settings import BAG, Settings, text_parts
from hashcli.distillation.text_export import check_text_tower
from hashcli.distillation.towers import (
    BackboneTower,
    HashModelTower,
    ImageTower,
    OpenClipTextTower,
    Precision,
    TextTower,
    at_student_size,
)
from hashcli.errors import HashcliError


@dataclass(frozen=True)
class Towers:
    """The encoders of a run.

    `student_text` is None for a bag of words alone; `student_bag` says whether there is a bag.
    """

    teacher_image: ImageTower
    teacher_text: TextTower
    student_image: ImageTower
    student_text: TextTower | None
    student_bag: bool = False

    @property
    def student_is_vectors(self) -> bool:
        """Whether a half of the student is vectors in files, so that it cannot become a hash model."""
        return isinstance(self.student_image, VectorImageTower) or isinstance(self.student_text, VectorTextTower)

    @property
    def knows_photos_alone(self) -> bool:
        """Whether the teacher is vectors of photos, without any of texts."""
        return isinstance(self.teacher_text, VectorTextTower) and self.teacher_text.is_empty

    def keys(self) -> dict[str, str]:
        """What identifies their features, as run.json and a hash model keep it."""
        parts = [BAG] if self.student_bag or not self.student_text else []
        student_text = "+".join([*parts, self.student_text.key] if self.student_text else parts)
        return {"teacher": self.teacher_image.key, "student": self.student_image.key, "student's text": student_text}


def open_towers(settings: Settings, device: torch.device, student_image: ImageTower | None = None) -> Towers:
    """All towers of a run. `student_image` is a tower that is open already, in place of the named one.

    Raises HashcliError for a tower that cannot be had.
    """
    precision: Precision = "float32"
    if settings.precision == "bfloat16" or (settings.precision == "auto" and device.type == "cuda"):
        precision = "bfloat16"
    image, text = open_teacher(settings.teacher, device, precision)
    if student_image is None:
        # The student computes in float32, as the hash model will, and on the backbone of a hash model.
        is_the_teacher = settings.student == settings.teacher and precision == "float32"
        share = is_the_teacher and not _is_hash_model(settings.student)
        student_image = (
            image
            if share
            else open_image_tower(settings.student, device, "layers" if settings.student_layers else "backbone")
        )
        if settings.student_size:
            student_image = at_student_size(student_image, settings.student_size)
    student_text: TextTower | None = None
    has_bag, text_name = text_parts(settings.text)
    if text_name:
        is_the_teacher = text_name == settings.teacher and precision == "float32"
        student_text = text if is_the_teacher else open_text_tower(text_name, device)
    return Towers(image, text, student_image, student_text, has_bag)


def open_text_tower(name: str, device: torch.device | str = "cpu") -> TextTower:
    """A student's text tower. Raises HashcliError for files that hold no vectors of texts."""
    tower = vector_towers(name, of="text")[1] if name.startswith(PREFIX) else open_teacher(name, device)[1]
    if isinstance(tower, OpenClipTextTower):
        check_text_tower(tower)  # now, and not when the trained student is written
    return tower


def open_teacher(
    name: str, device: torch.device | str = "cpu", precision: Precision = "float32"
) -> tuple[ImageTower, TextTower]:
    """A teacher's image and text tower, whose features lie in one space. A hash model's are always float32."""
    if name.startswith(PREFIX):
        return vector_towers(name)
    if not _is_hash_model(name):
        return open_clip_towers(name, device, precision)
    tower = HashModelTower(name)
    return tower, tower


def open_image_tower(
    name: str, device: torch.device | str = "cpu", of_hash_model: Literal["outputs", "backbone", "layers"] = "outputs"
) -> ImageTower:
    """A student's image tower. Of a hash model it gives the outputs, or features of its backbone: of the last layer, or
    of several.
    """
    if of_hash_model != "outputs" and _is_hash_model(name):
        return BackboneTower(name, layers=of_hash_model == "layers")
    return timm_tower(name.removeprefix("timm:"), device) if name.startswith("timm:") else open_teacher(name, device)[0]


def _is_hash_model(name: str) -> bool:
    return not name.startswith((LOCAL, HUB, PREFIX, "timm:")) and ("/" not in name or Path(name).is_dir())


def choose_device(setting: str) -> torch.device:
    """The device for the setting `device`. Raises HashcliError for cuda where there is none."""
    if setting == "cuda" and not torch.cuda.is_available():
        raise HashcliError("There is no CUDA device that torch can use.", 'Set device to "auto" or "cpu".')
    return torch.device("cuda" if torch.cuda.is_available() and setting != "cpu" else "cpu")
