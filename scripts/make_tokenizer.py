"""Build the tokenizer of models that are trained from scratch.

    ./run python scripts/make_tokenizer.py

A byte-level BPE on the simulator's instructions and on sentences like them. What is not in their
vocabulary is still encoded, in more tokens: by parts of words, down to bytes.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from itertools import product
from pathlib import Path

import tokenizers
from tokenizers import decoders, models, normalizers, pre_tokenizers, trainers

from multismolvla.policy.tokenizer import SHIPPED_FILE
from multismolvla.sim.tasks import TASKS

VOCABULARY = 1024
PADDING = "<pad>"

# Slot of the sentences -> words that stand in it.
WORDS = {
    "verb": """
        put place move bring carry set drop stack lift raise push pull slide take pick grasp grab
        hold release leave turn rotate flip open close press find reach touch point show give hand
        sort clear clean collect gather tidy align insert remove fetch keep return stop wait go
        lower shake pour wipe fold cover hang store arrange swap start switch make use pass throw
        catch
    """,
    "colour": """
        red green blue yellow orange purple pink black white grey gray brown golden silver dark
        light wooden metal plastic paper glass rubber soft hard small large big tiny long short
        round square flat thin thick warm hot cold cool empty full heavy broken dirty new old
    """,
    "object": """
        cube cylinder brick block ball box cup mug bottle can bowl plate bin basket tray spoon
        fork knife pen pencil marker sponge cloth towel tape book toy duck bear apple banana lemon
        carrot egg bread screw nut bolt key battery cable wrench hammer screwdriver lid drawer
        door button lever handle shelf table robot arm gripper hand object objects item items
        thing things part parts piece pieces stack pile tower row line cubes cylinders bricks
        blocks balls cups bottles pot pan jar glass spatula scissors tool tools car orange pear
        potato tomato onion corn bean cabinet rack stand holder hook corner edge centre center
        side end sink stove oven microwave bag hat shoe sock coin card stick rope wheel gear
        spring magnet tube sheet cover paper plug socket switch camera
    """,
    "relation": """
        in on into onto under over above below beside behind near to at from between inside
        outside against around across along through out off up down away
    """,
    "superlative": """
        leftmost rightmost nearest farthest closest furthest largest smallest tallest shortest
        warmest coldest hottest first second third last next other same left right top bottom
        front back middle upper lower
    """,
    "number": """
        one two three four five six both all every each some any
    """,
    "adverb": """
        slowly carefully gently quickly then again together first now upright please
    """,
}
PHRASES = (
    "next to",
    "in front of",
    "on top of",
    "to the left of",
    "to the right of",
    "on the other side of",
    "in the middle of",
    "at the edge of",
    "in the corner of",
    "as far as possible from",
    "close to",
)
SENTENCES = (
    "{verb} the {colour} {object} {relation} the {place}",
    "{verb} the {object} {phrase} the {colour} {place}",
    "{verb} the {superlative} {object} and {verb2} it {relation} the {place}",
    "{verb} the {object} {superlative} to the {place} {relation} the {colour} {object2}",
    "{verb} {number} {object} {relation} the {place} and the {colour} {object2} {phrase} it",
    "{adverb} {verb} the {colour} {object} {relation} the {place}",
    "{verb} a {object} that is {colour}, {adverb} {verb2} it with the {object2}",
    "do not {verb} the {object}, {verb2} them {relation} this {place} or that {object2} instead",
)


def corpus() -> Iterator[str]:
    """Sentences, each with the newline that ends an instruction; always the same ones.

    BPE counts words and never looks beyond one, so every word in every kind of sentence matters,
    and the combinations do not: each list is walked through in turn.
    """
    yield from (task.instruction + "\n" for task in TASKS)
    words = {slot: text.split() for slot, text in WORDS.items()}
    words["phrase"] = list(PHRASES)
    # A second verb or object in a sentence is another one than the first.
    for slot, of, step in (
        ("verb2", "verb", 7),
        ("object2", "object", 11),
        ("place", "object", 23),
    ):
        words[slot] = words[of][step:] + words[of][:step]
    longest = max(map(len, words.values()))
    for turn, sentence in product(range(longest), SENTENCES):
        chosen = {slot: choices[turn % len(choices)] for slot, choices in words.items()}
        yield sentence.format(**chosen) + "\n"


def build() -> str:
    """Return the text of a `tokenizer.json`; always the same."""
    tokenizer = tokenizers.Tokenizer(models.BPE())
    # `Put` is `put`, and a word at the start of a sentence the same as inside it.
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()])
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=[PADDING],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(corpus(), trainer)
    tokenizer.enable_padding(pad_id=tokenizer.token_to_id(PADDING), pad_token=PADDING)
    return tokenizer.to_str(pretty=True) + "\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the file that the package ships."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--output", type=Path, default=SHIPPED_FILE, help="default: %(default)s")
    args = parser.parse_args(arguments)
    args.output.write_text(build(), encoding="utf-8")
    print(args.output)
    return 0


if __name__ == "__main__":
    sys.exit(main())
