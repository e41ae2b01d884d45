"""What mkdocs is told beyond its settings: a link that leaves docs/ for another file of the repository stays a link.

The README becomes the first page; other Markdown files and Python examples that a page links to become pages, tables of
results are copied. Links are written as GitHub reads them and rewritten for the site, so every file has one text.
"""

from os.path import relpath
from pathlib import Path, PurePosixPath
from posixpath import normpath

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from docs.links import ROOT, links, replace_targets


def site_path(path: str) -> str:
    """Where a file of the repository lies in the site's sources.

    Args:
        path: Relative to the root of the repository, with forward slashes.
    """
    if path == "README.md":
        return "index.md"
    if path.startswith("docs/"):
        return path.removeprefix("docs/")
    return f"{path}.md" if path.endswith(".py") else path


def repository_path(page: str) -> str:
    """The file of the repository that a page of the site was made from; the inverse of `site_path`."""
    if page == "index.md":
        return "README.md"
    path = page.removesuffix(".md") if page.endswith(".py.md") else page
    return path if not (ROOT / "docs" / path).exists() and (ROOT / path).exists() else f"docs/{path}"


def rewrite(text: str, path: str) -> str:
    """The links of a page as the site needs them.

    Args:
        text: Markdown.
        path: The page's own place in the repository.
    """
    here, folder = str(PurePosixPath(site_path(path)).parent), PurePosixPath(path).parent
    return replace_targets(
        text, lambda target: PurePosixPath(relpath(site_path(normpath(folder / target)), here)).as_posix()
    )


def outside(docs: Path) -> dict[str, Path]:
    """Site path to file of everything outside docs/ that a page links to, followed from page to page."""
    found: dict[str, Path] = {}
    seen: set[str] = set()
    waiting = ["README.md", *(f"docs/{page.relative_to(docs).as_posix()}" for page in docs.rglob("*.md"))]
    while waiting:
        path = waiting.pop()
        if path in seen or not (ROOT / path).is_file():
            continue
        seen.add(path)
        if not path.startswith("docs/"):
            found[site_path(path)] = ROOT / path
        if path.endswith(".md"):
            named = links((ROOT / path).read_text("utf-8"))
            waiting += [normpath(PurePosixPath(path).parent / target) for target, _ in named if target]
    return found


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages and tables that lie outside docs/."""
    for place, path in outside(Path(config.docs_dir)).items():
        if path.suffix == ".py":
            text = f"# {path.name}\n\n```python\n{path.read_text('utf-8')}```\n"
            files.append(File.generated(config, place, content=text))
        else:
            files.append(File.generated(config, place, abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Rewrite the links of a page."""
    return rewrite(markdown, repository_path(page.file.src_uri))
