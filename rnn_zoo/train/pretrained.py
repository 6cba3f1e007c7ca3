"""The small trained models that come with the package, each with a card of what it is."""

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any

from .._common.checks import one_like
from .save import load


_FOLDER = Path(__file__).resolve().parent.parent / "_pretrained"


@dataclasses.dataclass(frozen=True)
class PretrainedCard:
    """What is to know of a pretrained model.

    - `about`: what it does; `use`: how it is called, with the shapes.
    - `data`: what it was trained on; `test`: what its `figures` were measured on; `spread`: how far
      another machine or another release of JAX may be off.
    - `command`: what makes it anew, from a checkout; it took `seconds` of one core.
    - `numbers`: how many numbers it has; `bytes` and `sha256` are those of its file.
    - `versions`: those that it was made with.
    """

    name: str
    about: str
    use: str
    data: str
    test: str
    figures: dict[str, float]
    spread: dict[str, float]
    command: str
    seconds: int
    numbers: int
    bytes: int
    sha256: str
    versions: dict[str, str]


def list_pretrained() -> tuple[str, ...]:
    """The names that `load_pretrained` knows, in alphabetical order."""
    return tuple(sorted(path.stem for path in _FOLDER.glob("*.json")))


def pretrained_card(name: str) -> PretrainedCard:
    """What a pretrained model was trained on, does and reaches. ValueError for an unknown name."""
    return PretrainedCard(**json.loads((_FOLDER / f"{_known(name)}.json").read_text()))


def load_pretrained(name: str) -> Any:
    """A small trained model that comes with the package; `list_pretrained()` has the names.

        model = rz.load_pretrained("japanese_vowels")
        logits = rz.batch(model)(test.x, mask=test.mask)

    The model is in inference mode, and `eqx.nn.inference_mode(model, False)` is the one to train
    on. `rz.train.pretrained_card(name)` says how it is called and what it reaches. ValueError for
    an unknown name, and for a file that is not the one of its card.
    """
    path = _FOLDER / f"{_known(name)}.rz"
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if digest != pretrained_card(name).sha256:
        raise ValueError(f"{path} is not the file of its card: install the package anew")
    return load(path)


def _known(name: str) -> str:
    if name not in list_pretrained():
        raise ValueError(
            f"no pretrained model is called {name!r}{one_like(name, list_pretrained())}"
        )
    return name
