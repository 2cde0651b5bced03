"""The software bill of materials of what `make build` built, in CycloneDX's JSON, on standard output.

It lists the distributions that the artifacts hold, as their own metadata names them. It runs in .venv-checks. The same
artifacts make the same document: it has no date, and its serial number is made of its content.
"""

import json
import sys
from importlib.metadata import Distribution, distributions
from pathlib import Path
from uuid import NAMESPACE_URL, uuid5

from cyclonedx.factory.license import LicenseFactory
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL

from tools.package import BUILT, project


def main() -> int:
    """Print the document. Return the exit status."""
    name, version = project()
    document = json.loads(JsonV1Dot6(describe(name, version, BUILT)).output_as_string())
    del document["metadata"]["timestamp"], document["serialNumber"]
    document["serialNumber"] = f"urn:uuid:{uuid5(NAMESPACE_URL, json.dumps(document, sort_keys=True))}"
    json.dump(document, sys.stdout, indent=2, sort_keys=True)
    print()
    return 0


def describe(name: str, version: str, built: Path) -> Bom:
    """Describe the distributions in the folders of all functions."""
    licenses = LicenseFactory()
    application = Component(type=ComponentType.APPLICATION, name=name, version=version, bom_ref=name)
    bom = Bom()
    bom.metadata.component = application
    found = {
        (each.name, each.version, _license(each))
        for folder in built.iterdir()
        if folder.is_dir()
        for each in distributions(path=[str(folder)])
    }
    libraries = [
        Component(
            type=ComponentType.LIBRARY,
            name=library,
            version=number,
            bom_ref=f"{library}=={number}",
            purl=PackageURL("pypi", None, library.lower().replace("_", "-"), number),
            licenses=[licenses.make_from_string(license_)] if license_ else [],
        )
        for library, number, license_ in sorted(found)
    ]
    for library in libraries:
        bom.components.add(library)
    bom.register_dependency(application, libraries)
    return bom


def _license(distribution: Distribution) -> str:
    """Return the license as the newer or the older field has it; empty if the distribution names none."""
    fields = distribution.metadata
    return next((fields[name] for name in ("License-Expression", "License") if name in fields), "")


if __name__ == "__main__":
    sys.exit(main())
