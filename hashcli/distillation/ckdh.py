"""CKDH: a CLIP image and graph-attention text teacher, whose similarity matrix a light student learns (TCSVT 2024).

Our reconstruction: of the paper only the abstract could be read. Known from it: the fine-tuned CLIP, the graph
attention over a bag of words, a similarity that joins log-likelihood, intra- and inter-modality similarities, and that
the similarity matrix is what is distilled. Here CLIP is fine-tuned within the teacher's stage, by the teacher's loss,
if `tune_teacher` says so; otherwise its features are frozen and only its head learns.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from hashcli.datasets.dataset import ImageTextDataset
from hashcli.distillation.features import Features
from hashcli.distillation.heads import HashHead
from hashcli.distillation.losses import cosine, cosine_target, negative_log_likelihood, quantisation, theta
from hashcli.distillation.settings import TeacherSettings, flag, number
from hashcli.distillation.towers import ImageTower
from hashcli.distillation.trainer import HashHeads, Method, Outputs, Trainer
from hashcli.distillation.tuning import TeacherImages, check_teacher
from hashcli.errors import HashcliError

Similarities = tuple[Tensor, Tensor]  # S_T in [-1, 1] and P_T in [0, 1], each [n, n]


class TermWeights(NamedTuple):
    """The weights of the three terms for the teacher, or for the student."""

    likelihood: float
    intra: float
    inter: float


@dataclass(frozen=True, kw_only=True)
class CkdhSettings(TeacherSettings):
    """What CKDH needs beside the shared settings. The defaults are ours: the paper's are not public."""

    graph_attention: bool = flag(True, "false: the text teacher sees each text alone, an ablation")
    graph_neighbours: int = number(10, 1, 10**6, "nearest texts of a batch that are a text's neighbours in the graph")
    likelihood: float = number(1.0, 0, 1e6, "weight: similar images and texts should have similar codes")
    intra: float = number(0.5, 0, 1e6, "weight: cosines within each modality should be as the target says")
    inter: float = number(1.0, 0, 1e6, "weight: cosines between the modalities should be as the target says")
    student_likelihood: float = number(1.0, 0, 1e6, "the same as `likelihood`, for the student")
    student_intra: float = number(0.5, 0, 1e6, "the same as `intra`, for the student")
    student_inter: float = number(1.0, 0, 1e6, "the same as `inter`, for the student")
    label_cosines: float = number(
        0.1,
        0,
        1e6,
        "with labels, what `intra`, `inter`, `student_intra` and `student_inter` are multiplied by: labels ask for "
        "cosines of 1 and -1, which codes of items with several labels cannot all have",
    )
    image_share: float = number(1.0, 0, 1e6, "the part of cosines among images in the teacher's similarity")
    text_share: float = number(1.0, 0, 1e6, "the part of cosines among texts in the teacher's similarity")
    cross_share: float = number(2.0, 0, 1e6, "the part of cosines between images and texts in the teacher's similarity")
    teacher_share: float = number(
        0.2, 0, 1, "the teacher's share in what the student learns of pairs with labels; 0 is labels alone"
    )
    kappa: float = number(
        3.0, 0, 1e3, "how sharply the teacher's similarity becomes a probability; 1: as sharply as the student's does"
    )
    graded: bool = flag(
        False, "true: labels ask for a cosine by how many of them two items share, and not by whether they do"
    )


def check_ckdh(settings: CkdhSettings, dataset: ImageTextDataset, teacher: ImageTower) -> None:
    """Raises HashcliError for shares that are all 0, and for a teacher that is to be fine-tuned and cannot be."""
    if not settings.image_share + settings.text_share + settings.cross_share:
        raise HashcliError(
            "image_share, text_share and cross_share are 0, which leaves nothing to learn.", "Leave one of them out."
        )
    check_teacher(settings, dataset, teacher)


def train_ckdh(trainer: Trainer[CkdhSettings]) -> HashHeads:
    """The teacher learns from the labels (or, without them, from its own features); the student from both.

    With `distil = false` the student learns from the labels as the teacher would: the ablation.
    """
    heads = trainer.new_heads()
    settings, training_set = trainer.settings, trainer.training_set
    distil = settings.distil
    weights = TermWeights(settings.student_likelihood, settings.student_intra, settings.student_inter)
    similarities = _taught_similarities(trainer) if distil else lambda rows: _label_similarities(trainer, rows)

    def loss(rows: Tensor) -> dict[str, Tensor]:
        image = torch.tanh(heads.image(training_set.image[rows]))
        text = torch.tanh(heads.text(training_set.text[rows]))
        return _terms(trainer, weights, image, text, *similarities(rows))

    if distil:
        trainer.train("ckdh-student", heads.modules(), loss, heads.encode)
    else:
        trainer.train_on_labels("ckdh-without-teacher", heads.modules(), loss, heads.encode)
    return heads


def _taught_similarities(trainer: Trainer[CkdhSettings]) -> Callable[[Tensor], Similarities]:
    """Train the teacher. Returns the function that gives what the student is to learn of the rows of a batch.

    Where labels say whether a pair is similar, it is the teacher's similarity mixed with theirs. Our reconstruction.
    """
    teacher, share, training_set = _train_teacher(trainer), trainer.settings.teacher_share, trainer.training_set

    def similarities(rows: Tensor) -> Similarities:
        taught = teacher(rows)
        if training_set.labels is None:
            return taught
        of_labels, known = _label_similarities(trainer, rows), training_set.known(rows)
        shares = share if known is None else torch.where(known, share, 1.0)
        target, probability = (shares * a + (1 - shares) * b for a, b in zip(taught, of_labels, strict=True))
        return target, probability

    return similarities


def _train_teacher(trainer: Trainer[CkdhSettings]) -> Callable[[Tensor], Similarities]:
    """Train the teacher. Returns the function that gives its similarities among the rows of a batch."""
    training_set, settings = trainer.training_set, trainer.settings
    image_head = trainer.new_image_head(training_set.teacher_image)
    width = training_set.text.shape[1]
    text_teacher = GraphTextTeacher(
        width, trainer.bits, dropout=0.3, neighbours=settings.graph_neighbours, attend=settings.graph_attention
    ).to(training_set.text.device)
    images = TeacherImages(training_set, settings)
    modules = nn.ModuleDict({"image": image_head, "text": text_teacher} | images.modules())
    weights = TermWeights(settings.likelihood, settings.intra, settings.inter)

    def loss(rows: Tensor) -> dict[str, Tensor]:
        image = torch.tanh(image_head(images.of_rows(rows)))
        text = torch.tanh(text_teacher(training_set.text[rows]))
        return _terms(trainer, weights, image, text, *_label_similarities(trainer, rows))

    def encode(features: Features) -> Outputs:
        """A text's neighbours are those of its batch, as in training, so its code depends on the batch."""
        texts = [text_teacher(batch) for batch in features.text.split(settings.batch)]
        return {"image": image_head(images.of_photos(features)), "text": torch.cat(texts)}

    trainer.train_on_labels("ckdh-teacher", modules, loss, encode)
    trainer.evaluator.report("ckdh's teacher", encode)
    with torch.no_grad():
        image_outputs = torch.tanh(image_head(images.of_all_rows()))

    def similarities(rows: Tensor) -> Similarities:
        """S_T, the mean of the cosines within each modality and across both, and P_T = sigmoid(kappa sharpness S_T).

        Our reconstruction. With kappa 1 the likelihood asks for the same cosines as the other terms, and with
        more for larger ones, which found more captions.
        """
        with torch.no_grad():
            image, text = image_outputs[rows], torch.tanh(text_teacher(training_set.text[rows]))
            across = cosine(image, text)
            similar = (
                settings.image_share * cosine(image, image)
                + settings.text_share * cosine(text, text)
                + settings.cross_share * (across + across.T) / 2
            ) / (settings.image_share + settings.text_share + settings.cross_share)
        return similar, torch.sigmoid(settings.kappa * settings.sharpness * similar)

    return similarities


def _label_similarities(trainer: Trainer[CkdhSettings], rows: Tensor) -> Similarities:
    """The same of the labels: the target of the cosines, and S itself as the probability."""
    training_set = trainer.training_set
    similar = training_set.similarity(rows)
    if trainer.settings.graded and training_set.labels is not None:
        labels = training_set.labels[rows]
        return cosine_target(cosine(labels, labels)), similar
    return cosine_target(similar, training_set.balanced), similar


def _terms(
    trainer: Trainer[CkdhSettings],
    weights: TermWeights,
    image: Tensor,
    text: Tensor,
    target: Tensor,
    probability: Tensor,
) -> dict[str, Tensor]:
    """The terms of the loss of the teacher (target 2S - 1, probability S) and of the student (S_T and P_T, mixed with
    the former where there are labels).

    Our reconstruction of "log-likelihood, intra- and inter-modality similarities", with the shared quantisation term.
    """
    settings, mse = trainer.settings, functional.mse_loss
    of_cosines = 1.0 if trainer.training_set.labels is None else settings.label_cosines
    return {
        "likelihood": weights.likelihood
        * negative_log_likelihood(theta(image, text, settings.sharpness), probability, trainer.training_set.balanced),
        "intra": of_cosines * weights.intra * (mse(cosine(image, image), target) + mse(cosine(text, text), target)),
        "inter": of_cosines * weights.inter * mse(cosine(image, text), target),
        "quantisation": settings.quantisation * quantisation(image, text),
    }


class GraphAttention(nn.Module):
    """One layer of a graph attention network over the n items of a batch (Velickovic et al., ICLR 2018).

    e_ij = LeakyReLU(a . [W x_i, W x_j]) over the edges, softmax over j, and the heads' results side by side.
    """

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.project = nn.Linear(width, width, bias=False)
        self.from_self = nn.Parameter(torch.empty(heads, width // heads))
        self.from_other = nn.Parameter(torch.empty(heads, width // heads))
        nn.init.xavier_uniform_(self.from_self)
        nn.init.xavier_uniform_(self.from_other)
        self.dropout = nn.Dropout(dropout)
        self.norm = nn.LayerNorm(width)

    def forward(self, x: Tensor, edges: Tensor) -> Tensor:
        """x [n, width], edges bool [n, n] with every item its own neighbour; to [n, width]."""
        n = len(x)
        projected = self.project(self.dropout(x)).view(n, self.heads, -1)  # [n, heads, width / heads]
        own = (projected * self.from_self).sum(dim=-1)  # [n, heads]
        other = (projected * self.from_other).sum(dim=-1)
        scores = functional.leaky_relu(own[:, None] + other[None], 0.2)  # [n, n, heads]
        weights = self.dropout(scores.masked_fill(~edges[..., None], float("-inf")).softmax(dim=1))
        mixed = torch.einsum("ijh,jhd->ihd", weights, projected).reshape(n, -1)
        return cast(Tensor, self.norm(x + functional.elu(mixed)))  # residual


class GraphTextTeacher(nn.Module):
    """CKDH's text teacher: bag of words [n, words] to r outputs through graph attention over the batch.

    Two texts are neighbours if one's bag is among the nearest of the other's by cosine. Labels are not used for the
    graph, since the loss uses them already. Without graph attention, an ablation, a text's only neighbour is itself.
    """

    def __init__(self, words: int, bits: int, dropout: float, neighbours: int, *, attend: bool) -> None:
        super().__init__()
        self.embed = nn.Linear(words, 512)
        self.attention = nn.ModuleList([GraphAttention(512, heads=4, dropout=dropout) for _ in range(2)])
        self.head = HashHead(512, 512, bits, dropout)
        self.neighbours = neighbours
        self.attend = attend

    def forward(self, bags: Tensor) -> Tensor:
        edges = self.edges(bags) if self.attend else torch.eye(len(bags), dtype=torch.bool, device=bags.device)
        x = functional.normalize(self.embed(bags))
        for layer in self.attention:
            x = layer(x, edges)
        return cast(Tensor, self.head(x))

    def edges(self, bags: Tensor) -> Tensor:
        """bool [n, n], symmetric: each text itself, and its nearest by cosine among those that share a word with it."""
        unit = functional.normalize(bags)
        similarity = unit @ unit.T
        nearest = similarity.topk(min(self.neighbours + 1, len(bags)), dim=1).indices
        edges = torch.zeros_like(similarity, dtype=torch.bool).scatter_(1, nearest, True) & (similarity > 0)
        return edges | edges.T | torch.eye(len(bags), dtype=torch.bool, device=bags.device)


METHOD = Method(
    "a graph-attention text teacher, whose similarity matrix the student learns (TCSVT 2024)",
    CkdhSettings,
    train_ckdh,
    check=check_ckdh,
    reconstruction=True,
    version=2,  # the first (0.2) had other heads, and other targets and weights of the terms
)
