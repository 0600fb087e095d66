"""Reports as numbers: vocabularies that only depend on their texts, and BERT's own numbers from BERT's own files."""

import json
import os
import random
import subprocess
import sys

import numpy as np
import pytest
from etils import epath
from tokenizers import Tokenizer, models

from jaxstroke.errors import InputError
from jaxstroke.preprocess import wordpiece

RNG = random.Random(0)
WORDS = ["".join(RNG.choice("abcdefghijklmnop") for _ in range(RNG.randint(2, 9))) for _ in range(200)]
TEXTS = [" ".join(RNG.choices(WORDS, k=12)) + f" {100 * RNG.random():.1f} mL." for _ in range(40)]
REPORTS = (
    "Side: left hemisphere.\nSize: 12.4 mL, largest diameter 43 mm.",
    "Side: right hemisphere.\nSize: 0.7 mL, largest diameter 9 mm.",
    "Side: none.\nImpression: no lesion.",
)
TRICKY = (
    "Infarct of the LEFT middle cerebral artery (MCA), 12.4 mL.",
    "œdème, naïveté and Ménière's",
    "急性脑梗死 on DWI",
    "infarct" * 30,
    "tabs\tand\nlines\u2028and\u00a0spaces, control\x00\u200b characters \ufffd",
    "[MASK] of [SEP] (b=1000 s/mm²) ≥ 5 % — “quoted”",
    "unheardof zzzz ##left",
)  # fmt: skip
BERTS = [
    *wordpiece.SPECIAL, "[unused0]", "the", "of", "infarct", "infar", "##ct", "left", "middle", "cere", "##bral", "artery", "(", ")", ",",
    ".", "1", "12", "4", "m", "##ca", "mca", "##l", "and", "na", "##ive", "##ivete", "meniere", "'", "s", "急", "性", "脑", "dwi", "on",
    "tab", "##s", "lines", "spaces", "control", "characters", "mask", "=", "/", "%", "—", "\u2028", "quoted", "“", "”", "a", "b", "c",
    "##a", "##b", "##c", "Infarct", "LEFT", "MCA", "œ", "##deme", "≥", "5", "#", "##e",
]  # fmt: skip


def test_the_vocabulary_depends_on_the_texts_alone():
    expected = wordpiece.fit(TEXTS, 200)
    shuffled = random.Random(1).sample(TEXTS, len(TEXTS))
    assert wordpiece.fit(iter(shuffled), 200) == wordpiece.fit(TEXTS + TEXTS[:7], 200) == expected
    assert wordpiece.fit(TEXTS[1:], 200) != expected


def test_the_vocabulary_is_the_same_in_every_process(project_root, tmp_path):
    """The library numbers in the order of hash tables, anew in every process. And no thread of it is left, which a fork would lack."""
    (tmp_path / "texts.json").write_text(json.dumps(TEXTS))
    program = (
        "import json, os, pathlib, sys; from jaxstroke.preprocess import wordpiece;"
        "tasks = pathlib.Path('/proc/self/task'); threads = lambda: len(list(tasks.iterdir())) if tasks.exists() else 0;"
        "before = threads();"
        "found = wordpiece.fit(json.loads(pathlib.Path(sys.argv[1]).read_text()), 200);"
        "wordpiece.encode(found, ['ab cd'], 8);"
        "assert threads() == before;"
        "child = os.fork(); child or os._exit(0); os.waitpid(child, 0); sys.stdout.write(found)"
    )
    environment = {name: value for name, value in os.environ.items() if name != "TOKENIZERS_PARALLELISM"}
    environment["PYTHONPATH"] = str(project_root)
    for _ in range(3):
        done = subprocess.run([sys.executable, "-c", program, tmp_path / "texts.json"], capture_output=True, text=True, env=environment)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout == wordpiece.fit(TEXTS, 200)


@pytest.mark.parametrize("size", [5, 6, 7, 16, 30, 64, 200, 4096])
def test_a_vocabulary_is_never_larger_than_asked_for(size):
    """Of characters the commonest are kept: Chinese ones alone would not fit into a small one."""
    texts = [*TEXTS, *TRICKY, "".join(map(chr, range(0x4E00, 0x4F00)))]
    found = wordpiece.fit(texts, size)
    assert wordpiece.size_of(found) <= size
    entries = Tokenizer.from_str(found).get_vocab()
    assert [entries[name] for name in wordpiece.SPECIAL] == [0, 1, 2, 3, 4]
    assert sorted(entries.values()) == list(range(len(entries)))
    tokens, _ = wordpiece.encode(found, texts, 32)
    assert tokens.min() >= 0 and tokens.max() < size


@pytest.mark.parametrize("texts", [(), ("",), (" \n\t", "\x00")])
def test_without_words_there_are_the_special_tokens_alone(texts):
    found = wordpiece.fit(texts, 512)
    assert wordpiece.size_of(found) == 5
    tokens, mask = wordpiece.encode(found, ["left", ""], 6)
    np.testing.assert_array_equal(tokens, [[2, 1, 3, 0, 0, 0], [0] * 6])  # an unknown word, and no report
    np.testing.assert_array_equal(mask, [[1, 1, 1, 0, 0, 0], [0] * 6])


def test_one_text_is_enough_for_its_letters_and_chance_makes_no_words():
    found = wordpiece.fit(["left left infarct"], 512)
    tokens, mask = wordpiece.encode(found, ["LEFT fact"], 16)
    assert wordpiece.words(found, tokens[0], mask[0])[:7] == ["[CLS]", "left", "f", "##a", "##c", "##t", "[SEP]"]


def test_numbers_are_digits_whether_seen_or_not():
    """1 and 5 to 8 never began the numbers they are in here."""
    found = wordpiece.fit([*REPORTS, "5 6 8"], 512)
    tokens, mask = wordpiece.encode(found, ["Size: 1685.30 mL"], 16)
    expected = ["[CLS]", "size", ":", *"1685.30", "ml", "[SEP]"]
    assert wordpiece.words(found, tokens[0], mask[0]) == expected + [""] * (16 - len(expected))


def test_a_report_is_short_where_its_words_are_known():
    """A word that several reports have is one token; case, spaces and accents do not matter."""
    found = wordpiece.fit([*REPORTS, *REPORTS], 512)
    tokens, mask = wordpiece.encode(found, ["side left hemisphere", "  SIDE\n\nléft   Hemisphere "], 16)
    np.testing.assert_array_equal(tokens[0], tokens[1])
    assert wordpiece.words(found, tokens[0], mask[0])[1:3] == ["side", "l"]  # `left` is in one report
    assert mask.sum(1).tolist() == [mask[0].sum()] * 2


def test_a_text_that_is_too_long_keeps_its_last_token_and_is_counted():
    found = wordpiece.fit(REPORTS, 512)
    whole, _ = wordpiece.encode(found, REPORTS, 64)
    lengths = (whole != 0).sum(1)
    for length in (4, int(lengths.min()), int(lengths.max())):
        tokens, mask = wordpiece.encode(found, REPORTS, length)
        assert tokens.dtype == np.int32 and mask.dtype == np.float32 and tokens.shape == mask.shape == (3, length)
        assert wordpiece.cut(found, REPORTS, length) == (lengths > length).sum()
        for row, full, own in zip(tokens, whole, lengths, strict=True):
            kept = min(length, own)
            assert row[kept - 1] == 3 and not row[kept:].any()
            np.testing.assert_array_equal(row[: kept - 1], full[: kept - 1])
        np.testing.assert_array_equal(mask, tokens != 0)
    assert wordpiece.cut(found, ["", *REPORTS], 64) == 0


def test_no_texts_are_no_rows():
    tokens, mask = wordpiece.encode(wordpiece.fit(REPORTS, 64), [], 8)
    assert tokens.shape == mask.shape == (0, 8)


def vocabulary_file(folder, settings: dict | None = None) -> epath.Path:
    (folder / "vocab.txt").write_bytes("\n".join([*BERTS, ""]).encode())
    if settings is not None:
        (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return epath.Path(folder / "vocab.txt")


@pytest.mark.parametrize(
    "settings", [None, {}, {"do_lower_case": False}, {"do_lower_case": True, "strip_accents": False, "tokenize_chinese_chars": False}]
)
def test_numbers_are_those_of_transformers(tmp_path, settings):
    """From vocab.txt, from the tokenizer.json that the other library saves, and cut as it cuts."""
    transformers = pytest.importorskip("transformers")
    path = vocabulary_file(tmp_path, settings)
    theirs = transformers.BertTokenizer.from_pretrained(tmp_path)
    theirs.save_pretrained(tmp_path / "saved")
    assert (tmp_path / "saved" / "tokenizer.json").exists()
    for file in (path, epath.Path(tmp_path / "saved" / "tokenizer.json")):
        found = wordpiece.read(file)
        for length in (8, 64):
            tokens, mask = wordpiece.encode(found, TRICKY, length)
            expected = theirs(list(TRICKY), padding="max_length", truncation=True, max_length=length)
            np.testing.assert_array_equal(tokens, expected["input_ids"])
            np.testing.assert_array_equal(mask, expected["attention_mask"])
        assert wordpiece.size_of(found) == len(BERTS)
    known = tokens[tokens > 4]
    assert len(np.unique(known)) > 25  # most entries are used, so the comparison is of words and not of [UNK]


def test_what_is_read_is_read_again(tmp_path):
    """A tokenizer that is kept, as a tokenizer.json, gives the same numbers; one that cuts and pads does it no more."""
    path = vocabulary_file(tmp_path)
    found = wordpiece.read(path)
    (tmp_path / "tokenizer.json").write_text(found)
    assert wordpiece.read(str(tmp_path / "tokenizer.json")) == found
    cutting = Tokenizer.from_str(found)
    cutting.enable_truncation(6)
    cutting.enable_padding(length=20, pad_id=9)
    (tmp_path / "tokenizer.json").write_text(cutting.to_str())
    assert wordpiece.read(tmp_path / "tokenizer.json") == found


def test_lines_of_another_system_and_repeated_lines_are_read_as_theirs(tmp_path):
    (tmp_path / "vocab.txt").write_bytes("\r\n".join([*wordpiece.SPECIAL, "left", "right", "left"]).encode())
    found = wordpiece.read(tmp_path / "vocab.txt")
    assert wordpiece.encode(found, ["left right"], 4)[0].tolist() == [[2, 7, 6, 3]]
    assert wordpiece.size_of(found) == 8


def refusal(path) -> str:
    with pytest.raises(InputError) as caught:
        wordpiece.read(path)
    message = str(caught.value)
    assert message.startswith("config.text.vocabulary")
    return message


def test_files_that_are_no_vocabulary_are_refused(tmp_path):
    assert "there is no such file" in refusal(tmp_path / "vocab.txt")
    assert "there is no such file" in refusal(tmp_path)
    (tmp_path / "vocab.txt").write_text("left\nright\n[PAD]\n[UNK]\n[CLS]\n")
    assert "has no line [SEP]" in refusal(tmp_path / "vocab.txt")
    (tmp_path / "vocab.txt").write_bytes(b"\xff\xfe\x00")
    assert "no text in UTF-8" in refusal(tmp_path / "vocab.txt")
    for text in ("{", "{}", "[]"):
        (tmp_path / "tokenizer.json").write_text(text)
        assert "no tokenizer.json that can be read" in refusal(tmp_path / "tokenizer.json")
    Tokenizer(models.WordLevel({"<s>": 0, "<unk>": 1}, unk_token="<unk>")).save(str(tmp_path / "tokenizer.json"))
    assert "has no [PAD], [UNK], [CLS], [SEP]" in refusal(tmp_path / "tokenizer.json")


@pytest.mark.parametrize(
    ("text", "cure"),
    [("{", "cannot be read"), ("[]", "cannot be read"), ('{"do_lower_case": "yes"}', "do_lower_case = yes must be true or false")],
)
def test_settings_beside_a_vocabulary_that_cannot_be_read_are_refused(tmp_path, text, cure):
    path = vocabulary_file(tmp_path)
    (tmp_path / "tokenizer_config.json").write_text(text)
    assert cure in refusal(path)
