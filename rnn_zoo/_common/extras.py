"""How an optional package comes to be there: one text for all who need one."""

from pathlib import Path


ROOT = Path(__file__).parents[2]


def installing(extra: str) -> str:
    """The command that brings an extra: of a checkout by its path, else by name.

    The path works from any folder, and for a checkout that was never installed; by name pip takes
    the package that is installed already, and what the extra adds.
    """
    if not (ROOT / "pyproject.toml").is_file():
        return f'pip install "rnn-zoo[{extra}]"'
    path = "." if Path.cwd() == ROOT else ROOT
    return f'pip install -e "{path}[{extra}]"'


def missing(what: str, extra: str, error: Exception | None = None) -> ImportError:
    """The error of what needs an optional package that is not installed.

    `what` says who needs which package; `error` is what the import of the package said.
    """
    return ImportError(
        f"{what}: {installing(extra)}",
        name=getattr(error, "name", None),
        path=getattr(error, "path", None),
    )
