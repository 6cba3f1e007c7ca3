"""Where the shipped data files are."""

import os
from pathlib import Path


_PACKAGE = Path(__file__).resolve().parent.parent


def locate(name: str, filename: str, path: str | os.PathLike | None = None) -> Path:
    """The file `filename` of the data set `name`.

    An explicit `path`, to the file or to a folder that holds it, is the only place looked at.
    Otherwise the first of these that has the file: the folder named by the environment variable
    RNN_ZOO_DATA, the data inside the installed package, the top-level `datasets/` of a checkout.
    In a folder, both `folder/name/filename` and `folder/filename` are looked for.

    Raises FileNotFoundError with the list of places.
    """
    folders = _folders() if path is None else [Path(path)]
    places = [] if path is None else [Path(path)]
    places += [folder / part for folder in folders for part in (Path(name, filename), filename)]
    for place in places:
        if place.is_file():
            return place
    tried = "\n".join(f"  {place}" for place in places)
    raise FileNotFoundError(
        f"{filename} of data set {name!r} is in none of these places:\n{tried}\n"
        f"Name its folder in the environment variable RNN_ZOO_DATA or with path=..., or make it "
        f"with datasets/{name}/prepare.py of the repository."
    )


def _folders() -> list[Path]:
    named = os.environ.get("RNN_ZOO_DATA")
    # An editable install leaves the package where it is, without `_datasets` beside it.
    shipped = [_PACKAGE / "_datasets", _PACKAGE.parent / "datasets"]
    return [Path(named), *shipped] if named else shipped
