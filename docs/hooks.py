"""What mkdocs does not do by itself: pages from outside docs/, and a page of reference for each public module."""

import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parent.parent
# What the pages link to outside of docs/. Their links stay true, since the site has these under `repository/`.
OUTSIDE = (
    *("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "canary.toml"),
    *("helm/triton/README.md", "helm/triton/CHANGELOG.md", "helm/triton/values.yaml", "helm/triton/values.schema.json"),
    *(f"examples/{path.name}" for path in sorted((ROOT / "examples").glob("[!_]*.py"))),
)
LINK = re.compile(r"(?<=\]\()(?!\w+:|#)([^)#\s]+)")


def public_modules() -> list[str]:
    """Return the SDK's public modules by their full names."""
    paths = sorted((ROOT / "triton_sdk").rglob("*.py"))
    parts = [path.relative_to(ROOT).with_suffix("").parts for path in paths]
    names = [".".join(one).removesuffix(".__init__") for one in parts]
    return [name for name in names if "._" not in name and ".__" not in name and name != "triton_sdk.data"]


def on_config(config: MkDocsConfig) -> None:
    """List the reference at the end of the navigation."""
    config.nav.append({"API reference": [{name: f"api/{name}.md"} for name in public_modules()]})


def on_files(files: Files, config: MkDocsConfig) -> None:
    """Add the pages from outside, and those of the reference."""
    for path in OUTSIDE:
        files.append(File.generated(config, f"repository/{path}", abs_src_path=str(ROOT / path)))
    for name in public_modules():
        files.append(File.generated(config, f"api/{name}.md", content=f"# {name}\n\n::: {name}\n"))


def on_page_markdown(markdown: str, page: Page, **_: object) -> str:
    """Let each link lead to where the site has what it names in the repository."""
    here = page.file.src_uri
    own = here.removeprefix("repository/") if here.startswith("repository/") else f"docs/{here}"

    def moved(link: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(posixpath.dirname(own), link[0]))
        there = target.removeprefix("docs/") if target.startswith("docs/") else f"repository/{target}"
        return posixpath.relpath(there, posixpath.dirname(here) or ".")

    return LINK.sub(moved, markdown)
