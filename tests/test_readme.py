"""What the README and the guide to directions show is what happens."""

import re
import textwrap
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.mark.slow
def test_readme_snippet_prints_what_it_claims(capsys):
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    code, claim = re.search(r"```python\n(.*?)```\n\n    (.*?)\n", text, re.DOTALL).groups()
    exec(code, {})
    pattern = r"(\d+) steps, test error (\d+\.\d)%"
    printed, claimed = re.fullmatch(pattern, capsys.readouterr().out.strip()), re.fullmatch(pattern, claim)
    assert printed[1] == claimed[1]
    # float32 sums differ between BLAS builds, and with them a few of the 360 test images
    assert abs(float(printed[2]) - float(claimed[2])) <= 1.2


def test_readme_names_the_two_commands():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert "make demo" in text
    assert "make test" in text


@pytest.mark.slow
def test_guide_to_directions_prints_what_it_claims(capsys):
    text = (ROOT / "docs" / "directions.md").read_text(encoding="utf-8")
    examples = re.findall(r"```python\n(.*?)```\n\n((?:    [^\n]*\n)+)", text, re.DOTALL)
    assert len(examples) == text.count("```python") == 4
    names = {}
    for code, claim in examples:
        exec(code, names)
        assert capsys.readouterr().out == textwrap.dedent(claim)
