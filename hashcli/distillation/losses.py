"""What the methods share: which items are similar, and the terms of their losses.

Notation as in the papers: n items in a batch, r bits; H in (-1, 1)^(n x r) are relaxed codes, B their signs. The exact
formulas of SODA, CKDH and LCDH are not public; each term says what it is and where it comes from.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional


def label_similarity(labels: Tensor, others: Tensor) -> Tensor:
    """S in {0, 1}^(n x m): 1 where two items share a label. Labels are [n, classes] and [m, classes] of 0 and 1."""
    return (labels @ others.T > 0).float()


def known_pairs(labels: Tensor, others: Tensor) -> Tensor:
    """bool [n, m]: the pairs of which both have labels. Labels are [n, classes] and [m, classes]."""
    return labels.any(dim=1)[:, None] & others.any(dim=1)


def teacher_similarity(image: Tensor, text: Tensor, other_images: Tensor, other_texts: Tensor) -> Tensor:
    """The mean of both modalities' cosines: features of unit length [n, d] and [m, d] to [n, m]. Our reconstruction."""
    return (image @ other_images.T + text @ other_texts.T) / 2


def theta(a: Tensor, b: Tensor, sharpness: float) -> Tensor:
    """Theta = sharpness cos(a, b): the argument of the likelihood. [n, d] and [m, d] to [n, m].

    Of codes it is (sharpness / r) a b^T: DCMH's Theta has a sharpness of r/2, OH-ELS (AAAI-26) 4, 8 and 10 for 16, 32
    and 64 bits. The sharper it is, the sooner a pair counts as settled and teaches nothing more. Of relaxed codes the
    papers take the inner product; with the cosine (ours) a pair need not be saturated to count. MITH's code clamps it,
    and this does not: a clamp takes the gradient from the pairs that are most wrong.
    """
    return sharpness * cosine(a, b)


def negative_log_likelihood(
    theta: Tensor, similarity: Tensor, balanced: bool = False, known: Tensor | None = None
) -> Tensor:
    """mean log(1 + exp(Theta)) - S Theta (DCMH, Jiang and Li 2017). S may be soft, in [0, 1].

    `balanced`: the similar pairs weigh as much as all others together, however few they are (HashNet, Cao et al. 2017).
    `known`, bool like S: the mean is over these pairs alone, and 0 if there are none.
    """
    if known is not None:
        theta, similarity = theta[known], similarity[known]
        if not len(theta):
            return theta.sum()  # 0, with a gradient
    terms = functional.softplus(theta) - similarity * theta
    if balanced:
        share = similarity.mean().clamp(1e-4, 1 - 1e-4)
        terms = terms * (similarity / (2 * share) + (1 - similarity) / (2 * (1 - share)))
    return terms.mean()


def cosine_target(similarity: Tensor, balanced: bool = False) -> Tensor:
    """What the cosine of two codes should be: 2S - 1. Our reconstruction of CKDH's loss.

    `balanced`: 1 for similar pairs, and for the others the value that makes the mean 0, as it is over all pairs of
    codes with balanced bits. When few pairs are similar, a target of -1 for all others could only be met by one code
    for all photos and its opposite for all texts.
    """
    if not balanced:
        return 2 * similarity - 1
    share = similarity.mean()
    return torch.where(similarity > 0, 1.0, (-share / (1 - share)).clamp(min=-1))


def cosine(a: Tensor, b: Tensor) -> Tensor:
    """Cosine of every row of a with every row of b: [n, d], [m, d] -> [n, m]."""
    return functional.normalize(a) @ functional.normalize(b).T


def modality_gap(a: Tensor, b: Tensor) -> Tensor:
    """Mean squared distance per bit between two items' relaxed codes: narrows the modality gap (SODA's abstract)."""
    return ((a - b) ** 2).mean()


def quantisation(*relaxed: Tensor) -> Tensor:
    """Mean squared distance per bit of the relaxed codes from the sign of their sum (DCMH's quantisation term, scaled).

    No gradient goes through the sign.
    """
    codes = signs(torch.stack(relaxed).sum(dim=0).detach())
    return torch.stack([((one - codes) ** 2).mean() for one in relaxed]).sum()


def balance(*relaxed: Tensor) -> Tensor:
    """Each bit should be 1 for half of the items: the mean square of the bits' means (DCMH's balance term, scaled)."""
    return torch.stack([(one.mean(dim=0) ** 2).mean() for one in relaxed]).sum()


def info_nce(a: Tensor, b: Tensor, temperature: float = 0.07) -> Tensor:
    """Symmetric InfoNCE between matching rows (van den Oord et al. 2018; Radford et al. 2021)."""
    logits = cosine(a, b) / temperature
    target = torch.arange(len(a), device=a.device)
    return (functional.cross_entropy(logits, target) + functional.cross_entropy(logits.T, target)) / 2


def signs(relaxed: Tensor) -> Tensor:
    """-1 and +1; an output of 0 is -1, as in a packed code."""
    return torch.where(relaxed > 0, 1.0, -1.0)


def soft_signs(outputs: Tensor) -> Tensor:
    """The sign, with the gradient of tanh (straight through: Bengio et al. 2013)."""
    soft = outputs.tanh()
    return soft + (signs(outputs) - soft).detach()


def code_scores(image_outputs: Tensor, text_outputs: Tensor, *, symmetric: bool) -> tuple[Tensor, Tensor]:
    """Outputs [p, bits] and [s, bits] to scores from -1 to 1: of photos by sentence [s, p], and the reverse [p, s].

    Items count by their bits. Queries count by their outputs, or by their bits as well if `symmetric`.
    """
    bits = image_outputs.shape[1]
    image_codes, text_codes = soft_signs(image_outputs), soft_signs(text_outputs)
    if symmetric:
        return text_codes @ image_codes.T / bits, image_codes @ text_codes.T / bits
    image, text = (functional.normalize(one) / math.sqrt(bits) for one in (image_outputs, text_outputs))
    return text @ image_codes.T, image @ text_codes.T


def ranking_divergence(scores: Tensor, target: Tensor) -> Tensor:
    """The mean Kullback-Leibler divergence of rows [n, m], as distributions by softmax, from those of the target."""
    return functional.kl_div(scores.log_softmax(1), target.log_softmax(1), reduction="batchmean", log_target=True)
