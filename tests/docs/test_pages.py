"""What our pages show is what happens: every fenced block is run, or says above it why not."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from pages import LANGUAGES, PAGES, ROOT, Block, Workplace, blocks, commands, missing_output, workplace_with_recipes

TUTORIAL = ROOT / "docs" / "tutorial.md"
"""Run as a whole in a fresh environment, by test_tutorial.py."""
COMMAND = re.compile(r"^ *(\$|(python|pip|crossagent|make|lightning|torchrun|fabric) [a-z-])", re.MULTILINE)
RUN = {page: blocks(page) for page in PAGES}
FAST = [
    page for page, found in RUN.items() if page != TUTORIAL and any(not b.mark and b.language != "text" for b in found)
]
SLOW = [page for page, found in RUN.items() if page != TUTORIAL and any(b.mark == "slow" for b in found)]


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


def test_there_are_pages_and_blocks() -> None:
    assert len(PAGES) > 20
    assert len(FAST) > 10
    assert sum(len(found) for found in RUN.values()) > 40


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_block_is_of_a_kind_that_is_run_or_marked(page: Path) -> None:
    for block in RUN[page]:
        if block.mark == "not run":
            continue
        assert block.language in LANGUAGES, f"{block}: run a block of {block.language!r}, or mark it"
        if block.language == "console":
            assert commands(block.body), f"{block}: no line starts with '$ '"
        if block.language == "text":
            assert not COMMAND.search(block.body), f"{block}: a command belongs into a console block"


@pytest.mark.parametrize("page", FAST, ids=name)
def test_the_quick_blocks_of_a_page_work(page: Path, tmp_path: Path) -> None:
    workplace = workplace_with_recipes(tmp_path)
    for block in RUN[page]:
        if not block.mark:
            workplace.run(block)


@pytest.mark.slow
@pytest.mark.parametrize("page", SLOW, ids=name)
def test_all_blocks_of_a_page_work(page: Path, tmp_path: Path) -> None:
    workplace = workplace_with_recipes(tmp_path)
    for block in RUN[page]:
        if block.mark != "not run":
            workplace.run(block)


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_somewhere_and_no_command_hides_in_an_indented_block(page: Path) -> None:
    prose = prose_of(page)
    for target, anchor in re.findall(r"\]\((?!https?:)([^)\s#]*)(?:#([^)\s]+))?\)", prose):
        file = (page.parent / target).resolve() if target else page
        assert file.exists(), f"{name(page)}: {target} is not there"
        if (ROOT / "docs") in page.parents:
            assert (ROOT / "docs") in file.parents, (
                f"{name(page)}: {target} is not built into the site; name it as `path`"
            )
        if anchor and file.suffix == ".md":
            assert anchor in anchors(file), f"{name(page)}: {target} has no heading #{anchor}"
    for indented in re.findall(r"^\n((?: {4}.*\n)+)", prose, re.MULTILINE):
        assert not COMMAND.search(indented), f"{name(page)}: put {indented.strip()!r} into a console block"


def test_every_page_is_in_the_menu() -> None:
    listed = re.findall(r"([\w./-]+\.md)$", (ROOT / "mkdocs.yml").read_text(), re.MULTILINE)
    pages = [str(page.relative_to(ROOT / "docs")) for page in (ROOT / "docs").glob("**/*.md")]
    assert sorted(listed) == sorted(pages), "the nav of mkdocs.yml and docs/ differ"


def prose_of(page: Path) -> str:
    """Return the text of a page without its fenced blocks."""
    return re.sub(r"^ *```.*?^ *```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)


def anchors(page: Path) -> set[str]:
    """Return the ids that GitHub and mkdocs give the headings of a page."""
    headings = re.findall(r"^#+ (.+)$", prose_of(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


# -- the tool itself ------------------------------------------------------------------------------------------------
def block(language: str, body: str, title: str = "") -> Block:
    return Block(ROOT / "docs" / "page.md", 1, language, title, body, "")


def test_blocks_and_their_marks_are_found() -> None:
    text = '<!-- not run: needs a GPU -->\n\n```console\n$ a\n```\n- list\n  ~~~python title="x.py"\n  b\n  ~~~\n'
    found = blocks(ROOT / "docs" / "page.md", text)
    assert [(b.line, b.language, b.title, b.body, b.mark) for b in found] == [
        (3, "console", "", "$ a\n", "not run"),
        (7, "python", "x.py", "b\n", ""),
    ]


@pytest.mark.parametrize("mark", ["<!-- not run -->", "<!-- not run:  -->", "<!-- skipped: no time -->"])
def test_a_mark_needs_a_reason(mark: str) -> None:
    (found,) = blocks(ROOT / "docs" / "page.md", f"{mark}\n```sh\nx\n```\n")
    assert found.mark == ""


def test_shown_output_must_occur_in_order() -> None:
    assert missing_output(["a", "…", "c … e"], "a\nb\n  c d e\n") is None
    assert missing_output(["c", "a"], "a\nb\nc\n") == "a"


@pytest.mark.parametrize(
    ("language", "body", "message"),
    [
        ("console", "$ false\n", "exits with 1"),
        ("console", "$ echo yes\nno\n", "has no line 'no'"),
        ("python", "assert 1 == 2, 'it is not'\n", "it is not"),
        ("python", ">>> 1 + 1\n3\n", "Got:"),
        ("yaml", "sead: 1\n", "unknown key 'sead'"),
        ("toml", "a = \n", "Invalid value"),
    ],
)
def test_what_does_not_work_is_found(language: str, body: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(Exception, match=message):
        Workplace(tmp_path).run(block(language, body))


def test_a_change_of_directory_holds_and_a_title_writes_a_file(tmp_path: Path) -> None:
    workplace = Workplace(tmp_path)
    workplace.run(block("console", "$ mkdir inner && cd inner\n"))
    workplace.run(block("python", "print('here')\n", title="src/say.py"))
    workplace.run(block("console", "$ python src/say.py && pwd\nhere\n…/inner\n"))
    assert (tmp_path / "inner/src/say.py").is_file()
