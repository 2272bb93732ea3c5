"""Small open_clip models on disk, with drawn weights and text halves of every kind."""

import json
import random
from pathlib import Path
from typing import Any

import torch

VISION = {"image_size": 32, "layers": 1, "width": 64, "patch_size": 8, "head_width": 32}
OWN = {"context_length": 16, "width": 32, "heads": 2, "layers": 2}
SIGLIP = {
    **OWN,
    "no_causal_mask": True,
    "proj_bias": True,
    "pool_type": "last",
    "norm_kwargs": {"eps": 1e-6},
    "act_kwargs": {"approximate": "tanh"},
    "tokenizer_kwargs": {"clean": "canonicalize"},
}
CLIPA = {**OWN, "no_causal_mask": True, "pool_type": "last", "tokenizer_kwargs": {"strip_sep_token": True}}

SENTENCES = [
    f"{who} {does} {where}"
    for who in ("a dog", "two children", "The cat's owner", "people, who don't mind,", "an old man")
    for does in ("runs", "is sleeping", "plays with a red ball", "won't look up")
    for where in ("on a beach", "in the snow at night", "near 12 houses", "under the table.")
]
HOSTILE = [
    "",
    "   \t\n ",
    "été à la plage, ÉTÉ ÀÉÎ",
    "cafe\u0301 and café",
    "🐶🐱 on a beach 🏖️ 👨‍👩‍👧‍👦",
    "&lt;b&gt;bold&lt;/b&gt; &amp; &amp;amp; &amp;lt; R&amp D &quot;x&quot; it&#39;s x&nbsp;y",
    "日本の犬 狗在海滩上 강아지가 해변에",
    "ＬＯＵＤ　ＮＯＩＳＥＳ！ ﾊﾝｶｸ",
    "ﬁne ﬂowers",
    "“curly” ‘quotes’ don’t …",
    "DON'T I'LL we've he'd I'm they're it's ''s 's",
    "2007 12345 3.14 ½ ² ①",
    "a-b_c d/e\\f !!!???... #tag @user http://a.b/c?d=e&f=g",
    "ΟΔΟΣ ΣΑΣ",
    "İstanbul ı ß ẞ Ǆ",
    "new\r\nline\u2028separator\x00\x07control \x1b[31mred\x1b[0m",
    "مرحبا بالعالم שלום नमस्ते दुनिया",
    "\u200bzero\u200bwidth \ufeffmark",
    "<start_of_text> twice",
    "word " * 300,
    "x" * 3000,
]


def varied_texts(count: int = 1000) -> list[str]:
    """The hostile texts, and sentences mixed with pieces of them."""
    rng = random.Random(0)
    pieces = [piece for text in HOSTILE[:-2] for piece in text.split(" ")]
    texts = list(HOSTILE)
    while len(texts) < count:
        words = rng.choice(SENTENCES).split(" ") + rng.choices(pieces, k=rng.randrange(4))
        rng.shuffle(words)
        text = rng.choice((" ", "  ", "\n")).join(words)
        texts.append(text if "&" in text else rng.choice((text, text.upper(), text.title())))
    return texts


def save_model(folder: Path, text: dict[str, Any], **model: Any) -> Path:
    """As open_clip saves one: `local-dir:FOLDER` names it. Its text half is spread out as a trained one is."""
    import open_clip
    from open_clip.factory import create_model

    folder.mkdir(parents=True, exist_ok=True)
    config = {"embed_dim": 32, "vision_cfg": VISION, "text_cfg": text, **model}
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": config, "preprocess_cfg": {}}))
    torch.manual_seed(0)
    made = create_model(f"local-dir:{folder}", load_weights=False, pretrained_text=False)
    with torch.no_grad():
        for name, parameter in made.named_parameters():
            if "embedding" in name:
                parameter.mul_(20)
    torch.save(made.state_dict(), folder / "open_clip_pytorch_model.bin")
    assert isinstance(made, open_clip.CLIP | open_clip.CustomTextCLIP)
    return folder


def save_word_pieces(folder: Path) -> int:
    """A tokenizer like BERT's; returns how many tokens it knows. Its padding is 0."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    built = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    built.normalizer = normalizers.BertNormalizer()
    built.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    built.train_from_iterator(SENTENCES, trainers.WordPieceTrainer(vocab_size=300, special_tokens=special))
    built.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    names = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    PreTrainedTokenizerFast(tokenizer_object=built, **names, mask_token="[MASK]").save_pretrained(folder)
    return int(built.get_vocab_size())


def save_sentence_pieces(folder: Path) -> int:
    """A tokenizer like T5's, which SigLIP uses: a unigram model, and padding by the token of the end, 1."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    built = Tokenizer(models.Unigram())
    built.pre_tokenizer = pre_tokenizers.Metaspace()
    special = ["<pad>", "</s>", "<unk>"]
    trainer = trainers.UnigramTrainer(vocab_size=200, special_tokens=special, unk_token="<unk>")
    built.train_from_iterator([text.lower() for text in SENTENCES], trainer)
    built.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    names = {"pad_token": "</s>", "eos_token": "</s>", "unk_token": "<unk>"}
    PreTrainedTokenizerFast(tokenizer_object=built, **names).save_pretrained(folder)
    return int(built.get_vocab_size())


def save_bert_clip(folder: Path, pooler: str = "mean_pooler", projection: str | None = "linear") -> Path:
    """A model with a text half of the library transformers."""
    from transformers import BertConfig

    folder.mkdir(parents=True, exist_ok=True)
    words = save_word_pieces(folder)
    BertConfig(
        vocab_size=words,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=40,
        pad_token_id=0,
        initializer_range=0.3,  # different texts get different features
    ).save_pretrained(folder)
    text = {"hf_model_name": str(folder), "hf_tokenizer_name": str(folder), "hf_model_pretrained": False}
    more = {"hf_pooler_type": pooler, "hf_proj_type": projection, "context_length": 16}
    return save_model(folder, {**text, **more})


def save_text_model(kind: str, folder: Path) -> Path:
    """A model of one of KINDS."""
    if kind.startswith("bert"):
        pooler, projection = {"mean": ("mean_pooler", "linear"), "cls": ("cls_pooler", "mlp")}[kind.split()[1]]
        return save_bert_clip(folder, pooler, projection)
    if kind in ("siglip", "clipa", "worldwide"):
        folder.mkdir(parents=True)
        words = save_word_pieces(folder) if kind == "clipa" else save_sentence_pieces(folder)
        own = {"siglip": SIGLIP, "clipa": CLIPA, "worldwide": {**OWN, "pool_type": "eos", "eos_id": 1}}[kind]
        return save_model(folder, {**own, "vocab_size": words, "hf_tokenizer_name": str(folder)}, custom_text=True)
    text = {**OWN, "no_causal_mask": kind == "mobileclip"}
    return save_model(folder, text, custom_text=kind != "clip", quick_gelu=kind == "quick gelu")


KINDS = ["clip", "quick gelu", "mobileclip", "siglip", "clipa", "worldwide", "bert mean", "bert cls"]
