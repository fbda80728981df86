"""Instructions as ids: what is refused, what is padded, and the tokenizer that is shipped."""

import json
import os
import subprocess
import sys

import make_tokenizer
import pytest
import tokenizers
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from make_tokenizer import WORDS, build
from tokenizers import decoders, models, pre_tokenizers, trainers

from multismolvla.policy.tokenizer import SHIPPED_FILE, Tokenizer, TokenizerError
from multismolvla.sim.tasks import TASKS


@pytest.fixture(scope="module")
def shipped():
    return Tokenizer.load(SHIPPED_FILE, max_tokens=48)


@pytest.fixture(scope="module")
def like_smolvlm():
    """The text of a small tokenizer.json as SmolVLM2's: no padding named, its special tokens."""
    tokenizer = tokenizers.Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=300,
        special_tokens=["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(["put the red cube in the bin\n"] * 5, trainer)
    return tokenizer.to_str()


def decoded(content, ids):
    return tokenizers.Tokenizer.from_str(content).decode(ids.tolist(), skip_special_tokens=False)


def test_a_batch_is_padded_on_the_right_to_its_longest(shipped):
    ids, mask = shipped.encode(["put the red cube in the bin", "stop"])
    assert ids.shape == mask.shape == (2, 8)
    assert ids.dtype == torch.int64 and mask.dtype == torch.bool
    assert mask.sum(dim=1).tolist() == [8, 2] and mask[1, :2].all()
    assert (ids[1, 2:] == shipped.padding_id).all()


def test_an_instruction_has_the_same_ids_alone_and_in_a_longer_batch(shipped):
    alone, _ = shipped.encode(["stop"])
    fixed, mask = shipped.encode(["stop"], length=20)
    assert fixed.shape == (1, 20)
    assert torch.equal(fixed[mask], alone[0])


def test_one_newline_ends_every_instruction(shipped):
    with_newline, without = shipped.encode(["put it down\n", "put it down"])[0]
    assert torch.equal(with_newline, without)
    assert decoded(shipped.content, without) == " put it down\n"


@pytest.mark.parametrize("blank", ["", " ", "\n", "\t \n"])
def test_a_blank_instruction_is_refused(shipped, blank):
    with pytest.raises(ValueError, match="the instruction is empty"):
        shipped.encode(["put it down", blank])


def test_nothing_is_ever_cut_off(shipped):
    words = "put " * 60
    with pytest.raises(ValueError, match=r"has 61 tokens.* at most 48") as refusal:
        shipped.encode([words.strip()])
    assert "\n" not in str(refusal.value) and len(str(refusal.value)) < 160
    with pytest.raises(ValueError, match=r"has 8 tokens.* at most 7"):
        shipped.encode(["put the red cube in the bin"], length=7)
    assert shipped.encode([" ".join(["put"] * 47)])[0].shape == (1, 48)


def test_a_message_with_broken_text_is_refused_in_one_line(shipped):
    with pytest.raises(ValueError, match="not valid Unicode") as refusal:
        shipped.encode(["put \udcff\nthere"])
    assert "\n" not in str(refusal.value)


def test_a_file_that_cuts_and_pads_by_itself_is_not_obeyed(shipped):
    content = json.loads(shipped.content)
    content["truncation"] = {
        "direction": "Right",
        "max_length": 4,
        "strategy": "LongestFirst",
        "stride": 0,
    }
    content["padding"]["strategy"] = {"Fixed": 30}
    content["padding"]["pad_id"] = 5
    tokenizer = Tokenizer(json.dumps(content), max_tokens=48)
    ids, mask = tokenizer.encode(["put the red cube in the bin", "stop"])
    assert mask.sum(dim=1).tolist() == [8, 2]
    assert (ids[1, 2:] == 5).all()


def test_a_tokenizer_like_smolvlms_pads_with_its_own_token(like_smolvlm):
    tokenizer = Tokenizer(like_smolvlm, max_tokens=48)
    ids, mask = tokenizer.encode(["put the red cube in the bin", "bin 42"])
    assert tokenizer.padding_id == 2
    assert (ids[~mask] == 2).all() and (ids[mask] != 2).all()
    assert decoded(like_smolvlm, ids[1][mask[1]]) == "bin 42\n"
    assert ids.max() < tokenizer.vocabulary_size <= 300


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff\xfe", b'{"model": {"type": "GPT"}}'])
def test_a_damaged_file_is_one_clear_line(tmp_path, content):
    path = tmp_path / "tokenizer.json"
    path.write_bytes(content)
    with pytest.raises(TokenizerError, match="not a tokenizer") as refusal:
        Tokenizer.load(path, 48)
    assert str(path) in str(refusal.value) and "\n" not in str(refusal.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(TokenizerError, match=r"gone\.json: cannot read it: No such file"):
        Tokenizer.load(tmp_path / "gone.json", 48)


def test_every_task_of_the_simulator_is_short(shipped):
    for task in TASKS:
        ids, _ = shipped.encode([task.instruction])
        assert ids.shape[1] == len(task.instruction.split()) + 1, task.instruction


def test_every_listed_word_is_one_token(shipped):
    for text in WORDS.values():
        for word in text.split():
            assert shipped.encode([word])[0].shape == (1, 2), word


def test_letter_case_does_not_matter(shipped):
    one, other = shipped.encode(["Put the RED cube in the bin", "put the red cube in the bin"])[0]
    assert torch.equal(one, other)


@settings(max_examples=50, deadline=None)
@given(st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=40))
def test_any_text_is_encoded_and_nothing_of_it_is_lost(text):
    tokenizer = Tokenizer.load(SHIPPED_FILE, max_tokens=1000)
    if not text.strip() or "<pad>" in text:
        return
    (ids,), _ = tokenizer.encode([text])
    assert ids.max() < tokenizer.vocabulary_size <= 1024
    reference = tokenizers.Tokenizer.from_str(tokenizer.content).normalizer.normalize_str(text)
    assert decoded(tokenizer.content, ids).strip() == reference.strip()


def test_the_shipped_file_is_what_the_builder_builds(tmp_path):
    assert build() == SHIPPED_FILE.read_text(encoding="utf-8")
    # In another process, so that no order of hashing can hide.
    subprocess.run(
        [sys.executable, make_tokenizer.__file__, "--output", tmp_path / "again"],
        env={**os.environ, "PYTHONHASHSEED": "7", "RAYON_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        check=True,
    )
    assert (tmp_path / "again").read_bytes() == SHIPPED_FILE.read_bytes()


def test_encoding_needs_neither_transformers_nor_the_hub():
    program = (
        "import sys; from multismolvla.policy.tokenizer import SHIPPED_FILE, Tokenizer;"
        "Tokenizer.load(SHIPPED_FILE, 48).encode(['stop']);"
        "print({'transformers', 'huggingface_hub'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout == "set()\n"
