"""The terms of the losses, against a few lines of numpy and cases worked by hand."""

import numpy as np
import pytest

pytest.importorskip("torch")

import torch

from hashcli.distillation import losses


def drawn(rows: int, columns: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((rows, columns))


def test_items_are_similar_that_share_a_label() -> None:
    """The first and the last share a label; the third has none, and is like nothing, itself included."""
    labels = torch.tensor([[1.0, 1, 0], [0, 0, 1], [0, 0, 0], [1, 0, 0]])
    expected = [[1, 0, 0, 1], [0, 1, 0, 0], [0, 0, 0, 0], [1, 0, 0, 1]]
    assert losses.label_similarity(labels, labels).tolist() == expected
    assert losses.label_similarity(labels[:1], labels[2:]).tolist() == [[0, 1]]


def test_the_teachers_similarity_is_the_mean_of_two_cosines() -> None:
    image, text = (torch.nn.functional.normalize(torch.tensor(drawn(5, 16, seed))) for seed in (0, 1))
    expected = [[float(image[i] @ image[j] + text[i] @ text[j]) / 2 for j in (3, 4)] for i in range(5)]
    assert losses.teacher_similarity(image, text, image[3:], text[3:]).numpy() == pytest.approx(np.array(expected))


def test_the_likelihood() -> None:
    a, b, similar = drawn(5, 8, 0), drawn(7, 8, 1), np.random.default_rng(2).random((5, 7))
    theta = 5 * a @ b.T / np.outer(np.linalg.norm(a, axis=1), np.linalg.norm(b, axis=1))
    expected = (np.log(1 + np.exp(theta)) - similar * theta).mean()
    given = losses.theta(torch.tensor(a), torch.tensor(b), sharpness=5)
    assert losses.negative_log_likelihood(given, torch.tensor(similar)).item() == pytest.approx(expected)


def test_a_balanced_likelihood_weighs_the_few_that_are_similar_as_much_as_the_rest() -> None:
    """By hand: one of four pairs is similar, so it counts twice, and each of the others two thirds."""
    theta = np.array([[1.0, -2.0], [0.5, 3.0]])
    similar = np.array([[1.0, 0], [0, 0]])
    terms = np.log(1 + np.exp(theta)) - similar * theta
    expected = (2 * terms[0, 0] + (terms.sum() - terms[0, 0]) * 2 / 3) / 4
    given = losses.negative_log_likelihood(torch.tensor(theta), torch.tensor(similar), balanced=True)
    assert given.item() == pytest.approx(expected)
    half = torch.tensor([[1.0, 0], [0, 1]], dtype=torch.float64)
    plain = losses.negative_log_likelihood(torch.tensor(theta), half)
    assert losses.negative_log_likelihood(torch.tensor(theta), half, balanced=True).item() == pytest.approx(
        plain.item()
    )


def test_the_cosine_that_codes_should_have() -> None:
    similar = torch.tensor([[1.0, 0, 0, 0, 0]])
    assert losses.cosine_target(similar).tolist() == [[1, -1, -1, -1, -1]]
    balanced = losses.cosine_target(similar, balanced=True)
    assert balanced.tolist() == [[1, -0.25, -0.25, -0.25, -0.25]]
    many = torch.tensor([[1.0, 1, 1, 0]])
    assert losses.cosine_target(many, balanced=True).tolist() == [[1, 1, 1, -1]]


def test_the_likelihood_of_long_codes_is_finite() -> None:
    """With DCMH's sharpness. log(1 + exp(512)) is 512; the codes of 1,024 bits that agree cost nothing when similar."""
    code = torch.ones(1, 1024)
    theta = losses.theta(code, code, sharpness=512)
    assert theta.item() == pytest.approx(512)
    assert losses.negative_log_likelihood(theta, torch.zeros(1, 1)).item() == pytest.approx(512)
    assert losses.negative_log_likelihood(theta, torch.ones(1, 1)).item() == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("bits", [16, 256, 1024])
@pytest.mark.parametrize(("similar", "agree"), [(0.0, 0.95), (0.0, 0.75), (1.0, 0.25), (1.0, 0.05)])
def test_a_wrong_pair_has_a_gradient_at_every_length(bits: int, similar: float, agree: float) -> None:
    """A pair whose codes agree in the wrong share of their bits."""
    code = torch.ones(1, bits)
    code[0, round(agree * bits) :] = -1
    code.requires_grad_()
    theta = losses.theta(code, torch.ones(1, bits), sharpness=5)
    losses.negative_log_likelihood(theta, torch.full((1, 1), similar)).backward()  # type: ignore[no-untyped-call]
    assert code.grad is not None
    assert (code.grad * (0.5 - similar) > 0.1 / bits).all()  # every bit is driven to the other side


def test_the_likelihood_of_pairs_that_are_known() -> None:
    """The mean is over these alone; without any it is 0, with a gradient of 0."""
    theta = torch.tensor([[1.0, -2.0], [0.5, 3.0]], requires_grad=True)
    similar = torch.tensor([[1.0, 0], [0, 0]])
    known = torch.tensor([[True, False], [False, True]])
    expected = (np.log(1 + np.exp(1)) - 1 + np.log(1 + np.exp(3))) / 2
    assert losses.negative_log_likelihood(theta, similar, known=known).item() == pytest.approx(expected)
    nothing = losses.negative_log_likelihood(theta, similar, known=torch.zeros_like(known))
    assert nothing.item() == 0
    nothing.backward()  # type: ignore[no-untyped-call]
    assert theta.grad is not None
    assert not theta.grad.any()


def test_cosine_and_modality_gap() -> None:
    a, b = drawn(3, 4, 0), drawn(5, 4, 1)
    expected = (a / np.linalg.norm(a, axis=1)[:, None]) @ (b / np.linalg.norm(b, axis=1)[:, None]).T
    assert losses.cosine(torch.tensor(a), torch.tensor(b)).numpy() == pytest.approx(expected)
    assert losses.modality_gap(torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 0.5]])).item() == pytest.approx(0.625)


def test_quantisation_is_the_distance_from_the_common_code() -> None:
    """By hand: the sums are 0.8 and -0.4, so the code is (1, -1); (0.25 + 0.25) / 2 and (0.49 + 1.21) / 2."""
    one = torch.tensor([[0.5, -0.5]], requires_grad=True)
    other = torch.tensor([[0.3, 0.1]])
    loss = losses.quantisation(one, other)
    assert loss.item() == pytest.approx(0.25 + 0.85)
    loss.backward()  # type: ignore[no-untyped-call]
    assert one.grad is not None
    assert one.grad.tolist() == [[pytest.approx(-0.5), pytest.approx(0.5)]]  # 2 (one - code) / 2


def test_balance_is_zero_when_each_bit_is_set_for_half() -> None:
    assert losses.balance(torch.tensor([[1.0, -1], [-1, 1]])).item() == 0
    assert losses.balance(torch.tensor([[1.0, -1], [1, 1]])).item() == pytest.approx(0.5)  # means 1 and 0
    assert losses.balance(torch.ones(4, 3), -torch.ones(4, 3)).item() == pytest.approx(2)


def test_info_nce() -> None:
    a, b = drawn(6, 4, 0), drawn(6, 4, 1)
    unit_a, unit_b = (one / np.linalg.norm(one, axis=1)[:, None] for one in (a, b))
    logits = np.exp(unit_a @ unit_b.T / 0.1)
    matching = logits.diagonal()
    expected = -(np.log(matching / logits.sum(axis=1)) + np.log(matching / logits.sum(axis=0))).mean() / 2
    assert losses.info_nce(torch.tensor(a), torch.tensor(b), 0.1).item() == pytest.approx(expected)


def test_a_sign_is_the_bit_that_a_packed_code_has() -> None:
    from hashcli.hashmodel import codes

    relaxed = np.array([[0.5, 0.0, -0.5, 1e-30, -0.0, 2, -2, 3]], np.float32)
    assert losses.signs(torch.tensor(relaxed)).tolist() == codes.unpack(codes.pack(relaxed)).tolist()


def test_code_scores_against_a_plain_loop() -> None:
    """A query's output, at unit length, times an item's bits; or bits times bits."""
    rng = np.random.default_rng(0)
    image, text = rng.standard_normal((5, 16)), rng.standard_normal((4, 16))
    of_photos, of_sentences = losses.code_scores(*map(torch.from_numpy, (image, text)), symmetric=False)
    both, _ = losses.code_scores(*map(torch.from_numpy, (image, text)), symmetric=True)
    for s in range(4):
        for p in range(5):
            photo, sentence = np.where(image[p] > 0, 1, -1), np.where(text[s] > 0, 1, -1)
            assert float(of_photos[s, p]) == pytest.approx(text[s] @ photo / np.linalg.norm(text[s]) / 4)
            assert float(of_sentences[p, s]) == pytest.approx(image[p] @ sentence / np.linalg.norm(image[p]) / 4)
            assert float(both[s, p]) == pytest.approx(photo @ sentence / 16)


def test_soft_signs_have_the_gradient_of_tanh() -> None:
    outputs = torch.tensor([-2.0, 0.0, 0.5], requires_grad=True)
    codes = losses.soft_signs(outputs)
    assert codes.tolist() == [-1, -1, 1]
    codes.sum().backward()  # type: ignore[no-untyped-call]
    assert outputs.grad is not None
    assert outputs.grad.tolist() == pytest.approx((1 - outputs.detach().tanh() ** 2).tolist())


def test_ranking_divergence_against_a_plain_loop() -> None:
    rng = np.random.default_rng(0)
    scores, target = rng.standard_normal((3, 5)), rng.standard_normal((3, 5))
    p, q = (np.exp(one) / np.exp(one).sum(axis=1, keepdims=True) for one in (target, scores))
    expected = sum(p[i, j] * np.log(p[i, j] / q[i, j]) for i in range(3) for j in range(5)) / 3
    assert float(losses.ranking_divergence(*map(torch.from_numpy, (scores, target)))) == pytest.approx(expected)
