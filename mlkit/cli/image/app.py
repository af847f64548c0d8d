"""`mlkit image`: its commands, in the order of their use."""

from __future__ import annotations

from mlkit.cli.groups import group

base = group(
    "base",
    "Assemble distroless bases from the machine's own Debian packages.",
    {
        "build": (
            "mlkit.cli.image.base:build",
            "Assemble a base from Debian packages; the same packages give the same image id.",
        ),
        "list": (
            "mlkit.cli.image.base:list_bases",
            "List the bases that `build` can assemble, and those that the engine holds already.",
        ),
    },
)
app = group(
    "image",
    "Slim container images, and prove that they work.",
    {
        "slim": (
            "mlkit.cli.image.slim:slim",
            "Move an image onto a distroless base, and prove that it behaves as before.",
        ),
        "compare": (
            "mlkit.cli.image.run:compare",
            "Run two images side by side and compare how they behave.",
        ),
        "explain": (
            "mlkit.cli.image.explain:explain",
            "Show why files were kept in a slimmed image, or dropped from it.",
        ),
        "diff": (
            "mlkit.cli.image.diff:diff",
            "Show what differs between two images: files, packages, sizes, config.",
        ),
        "sbom": (
            "mlkit.cli.image.sbom:sbom",
            "Write the software bill of materials of an image, as CycloneDX.",
        ),
        "doctor": (
            "mlkit.cli.image.doctor:doctor",
            "Diagnose how an image starts, runs and stops, as process 1 and under an init.",
        ),
        "debug": (
            "mlkit.cli.image.debug:debug",
            "Start a shell beside a container that has none, in its namespaces.",
        ),
        "base": (
            "mlkit.cli.image.app:base",
            "Assemble distroless bases from the machine's own Debian packages.",
        ),
        "clean": (
            "mlkit.cli.image.run:clean",
            "Remove the containers and images that interrupted runs left behind in the engine.",
        ),
    },
)
