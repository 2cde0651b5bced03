"""`make package`: what `make build` built, in one archive that can be deployed without building.

The same source makes the same archive: entries are sorted and carry no dates.
"""

import hashlib
import sys
import tomllib
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

ROOT = Path(__file__).parents[1]
BUILT = ROOT / ".aws-sam" / "build"
TEMPLATE = "template.yaml"
DOCUMENTS = ("README.md", "CHANGELOG.md", "LICENSE", "docs/**/*.md", "docs/**/*.svg")
EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest that an archive knows
MODE = 0o644 << 16


def main() -> int:
    """Write build/<name>-<version>.zip, and say its hash. Return the exit status."""
    if not (BUILT / TEMPLATE).is_file():
        print("Nothing is built yet: run 'make build' first.", file=sys.stderr)
        return 2
    name = "-".join(project())
    archive = ROOT / "build" / f"{name}.zip"
    archive.parent.mkdir(exist_ok=True)
    pack(archive, name, _contents())
    print(f"{archive.relative_to(ROOT)}  {archive.stat().st_size / 1e6:.1f} MB  sha256 {_hash(archive)}")
    print(f"Deploy it: unzip, then sam deploy --guided --template-file {name}/{TEMPLATE}")
    return 0


def project() -> tuple[str, str]:
    """Return the name and the version, which is in pyproject.toml alone."""
    fields = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    return fields["name"], fields["version"]


def pack(archive: Path, folder: str, contents: dict[str, Path]) -> None:
    """Write files, by their names in `folder`, so that the same contents make the same archive."""
    with ZipFile(archive, "w", ZIP_DEFLATED) as package:
        for name, path in sorted(contents.items()):
            entry = ZipInfo(f"{folder}/{name}", EPOCH)
            entry.external_attr, entry.compress_type = MODE, ZIP_DEFLATED
            package.writestr(entry, path.read_bytes())


def _contents() -> dict[str, Path]:
    functions = {path for folder in BUILT.iterdir() if folder.is_dir() for path in folder.rglob("*") if path.is_file()}
    contents = {str(path.relative_to(BUILT)): path for path in {*functions, BUILT / TEMPLATE}}
    documents = {path for pattern in DOCUMENTS for path in ROOT.glob(pattern)}
    return contents | {str(path.relative_to(ROOT)): path for path in documents}


def _hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


if __name__ == "__main__":
    sys.exit(main())
