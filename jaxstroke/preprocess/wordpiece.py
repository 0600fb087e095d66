"""Reports as numbers: WordPiece (Wu et al. 2016, arXiv 1609.08144) with BERT's normaliser, fitted on reports or read from a file.

A tokenizer is kept as the text of a tokenizer.json of the library `tokenizers`, so that it travels with a run as any other fitted value.
"""

import collections
import functools
import json
import os
from collections.abc import Iterable, Sequence

import numpy as np
from etils import epath
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from jaxstroke.errors import InputError, listed

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")  # 0 to 4 where it is fitted
NEEDED = SPECIAL[:4]
CONTINUED = "##"
LEAST = 2  # times that a piece of several letters occurs: what one report alone has is no vocabulary


def fit(texts: Iterable[str], size: int) -> str:
    """A tokenizer of at most `size` entries (at least 5) for these texts; without any word in them, of the special tokens alone.

    The same texts in any order, and any number of times, give the same tokenizer. Numbers are split into digits: reports are few and their
    numbers many, so whole numbers would fill the vocabulary with chance pieces (`12.4` as `12 . 4`, `13.4` as `1 ##3 . 4`), whereas ten
    digits write every number, seen or not, in one way. Characters are kept by how often they occur, as many as fit twice, alone and
    within a word; words of others are unknown.
    """
    normalizer = normalizers.BertNormalizer(lowercase=True)
    splitter = pre_tokenizers.Sequence([pre_tokenizers.BertPreTokenizer(), pre_tokenizers.Digits(individual_digits=True)])
    words = [word for text in sorted(set(texts)) for word, _ in splitter.pre_tokenize_str(normalizer.normalize_str(text))]
    return made(vocabulary(words, size, splitter), normalizer, splitter).to_str()


def vocabulary(words: list[str], size: int, splitter) -> dict[str, int]:
    """Entries and their numbers, special tokens first.

    The library's trainer numbers the letters within words (`##a`) in the order of a hash table, anew in every process, and breaks ties by
    number (huggingface/tokenizers issue 1794): they are given to it as special tokens, in order, and only here.
    """
    counts = collections.Counter(letter for word in words for letter in word)
    kept = sorted(counts, key=lambda letter: (-counts[letter], letter))[: (size - len(SPECIAL)) // 2]
    if not kept:
        return {name: number for number, name in enumerate(SPECIAL)}
    within = {letter for word in words for letter in word[1:]} & set(kept)
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # its threads outlive the call, which a later fork suffers from
    trained = Tokenizer(models.WordPiece(unk_token=SPECIAL[1]))
    trained.pre_tokenizer = splitter
    trainer = trainers.WordPieceTrainer(
        vocab_size=size,
        min_frequency=LEAST,
        show_progress=False,
        special_tokens=[*SPECIAL, *(CONTINUED + letter for letter in sorted(within))],
        initial_alphabet=sorted(kept),
        limit_alphabet=len(kept),
        continuing_subword_prefix=CONTINUED,
    )
    trained.train_from_iterator(words, trainer)
    return trained.get_vocab()


def made(entries: dict[str, int], normalizer, splitter) -> Tokenizer:
    """A tokenizer that puts [CLS] and [SEP] around a text."""
    found = Tokenizer(models.WordPiece(entries, unk_token="[UNK]", continuing_subword_prefix=CONTINUED))
    found.normalizer, found.pre_tokenizer = normalizer, splitter
    found.decoder = decoders.WordPiece(prefix=CONTINUED)
    found.post_processor = processors.BertProcessing(*((name, entries[name]) for name in ("[SEP]", "[CLS]")))
    found.add_special_tokens([name for name in SPECIAL if name in entries])
    return found


def read(path: epath.Path) -> str:
    """The tokenizer of a `tokenizer.json`, or of BERT's `vocab.txt`: an entry a line.

    A vocab.txt does not tell how texts are normalised; tokenizer_config.json beside it does (do_lower_case, strip_accents,
    tokenize_chinese_chars), and without one they are lowercased, as Hugging Face's BertTokenizer does, whatever the case of its entries.
    Raises InputError naming config.text.vocabulary.
    """
    path = epath.Path(path)
    where = f"config.text.vocabulary = {path}"
    if not path.is_file():
        raise InputError(f"{where}: there is no such file: give a tokenizer.json or a vocab.txt, or leave it empty to fit one")
    try:
        text = path.read_bytes().decode("utf-8")
    except UnicodeDecodeError:
        raise InputError(f"{where} is no text in UTF-8: give a tokenizer.json or a vocab.txt") from None
    found = of_json(text, where) if path.suffix == ".json" else of_lines(text, path, where)
    entries = found.get_vocab()
    if lacking := [name for name in NEEDED if name not in entries]:
        raise InputError(f"{where} has no {listed(lacking)}, which a tokenizer of BERT's has: give that of the weights, or fit one")
    found.no_truncation()  # lengths are ours
    found.no_padding()
    return found.to_str()


def of_json(text: str, where: str) -> Tokenizer:
    try:
        return Tokenizer.from_str(text)
    except Exception as error:  # the library raises no narrower one
        raise InputError(f"{where} is no tokenizer.json that can be read ({error}): fetch it again, or give the vocab.txt") from None


def of_lines(text: str, path: epath.Path, where: str) -> Tokenizer:
    lines = text.replace("\r\n", "\n").removesuffix("\n").split("\n")  # not splitlines: an entry may be one of Unicode's other line ends
    entries = {line: number for number, line in enumerate(lines)}
    if lacking := [name for name in NEEDED if name not in entries]:
        raise InputError(f"{where} has no line {listed(lacking)}: it is no vocab.txt of BERT's, which has an entry a line")
    flags = settings_beside(path)
    normalizer = normalizers.BertNormalizer(
        lowercase=flags.get("do_lower_case", True),
        strip_accents=flags.get("strip_accents"),
        handle_chinese_chars=flags.get("tokenize_chinese_chars", True),
    )
    return made(entries, normalizer, pre_tokenizers.BertPreTokenizer())


def settings_beside(path: epath.Path) -> dict[str, bool]:
    """What a tokenizer_config.json beside a vocabulary says of normalisation, {} where there is none."""
    file = path.parent / "tokenizer_config.json"
    if not file.exists():
        return {}
    try:
        found = json.loads(file.read_text())
        found = {name: found[name] for name in ("do_lower_case", "strip_accents", "tokenize_chinese_chars") if found.get(name) is not None}
    except (ValueError, AttributeError) as error:
        raise InputError(f"config.text.vocabulary: {file} beside it cannot be read ({error}): fetch it again") from None
    if wrong := [name for name, value in found.items() if type(value) is not bool]:
        raise InputError(f"config.text.vocabulary: {file}: {wrong[0]} = {found[wrong[0]]} must be true or false")
    return found


@functools.lru_cache(maxsize=8)  # of the folds of a run
def parsed(tokenizer: str) -> Tokenizer:
    """Its object, which nobody changes."""
    return Tokenizer.from_str(tokenizer)


def size_of(tokenizer: str) -> int:
    """Entries that a table for it must have: the highest number and one."""
    return max(parsed(tokenizer).get_vocab().values()) + 1


def encode(tokenizer: str, texts: Sequence[str], length: int) -> tuple[np.ndarray, np.ndarray]:
    """Texts as (tokens `n t` int32, mask `n t` float32, 1 = a token): [CLS] text [SEP], t = length (at least 3).

    A longer text loses what comes before its [SEP]; a shorter one is followed by [PAD]. A text without any word is no report: all mask 0.
    """
    first, last, padding = (parsed(tokenizer).token_to_id(name) for name in ("[CLS]", "[SEP]", "[PAD]"))
    tokens = np.full((len(texts), length), padding, np.int32)
    mask = np.zeros((len(texts), length), np.float32)
    for row, text in enumerate(texts):
        inside = numbers(tokenizer, text)[: length - 2]
        if inside:
            tokens[row, : len(inside) + 2] = [first, *inside, last]
            mask[row, : len(inside) + 2] = 1
    return tokens, mask


def numbers(tokenizer: str, text: str) -> list[int]:
    """A text without what stands around it. One text a call: those of many use threads."""
    return parsed(tokenizer).encode(text, add_special_tokens=False).ids


def cut(tokenizer: str, texts: Sequence[str], length: int) -> int:
    """How many texts `encode` cuts."""
    return sum(len(numbers(tokenizer, text)) > length - 2 for text in texts)


def spans(tokenizer: str, text: str, length: int) -> list[tuple[int, int]]:
    """(first letter, letter behind) in the text of each token that `encode` puts between [CLS] and [SEP], in order."""
    return parsed(tokenizer).encode(text, add_special_tokens=False).offsets[: length - 2]


def words(tokenizer: str, tokens: np.ndarray, mask: np.ndarray) -> list[str]:
    """The entry that each token of one text is, `t` of them; "" where the mask is 0."""
    entry = parsed(tokenizer).id_to_token
    return [entry(int(token)) if there else "" for token, there in zip(tokens, mask, strict=True)]
