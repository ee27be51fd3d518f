"""Print the lowest version that pyproject.toml allows of every direct dependency, as pip's constraints."""

import re
import tomllib
from pathlib import Path

project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
for requirement in project["dependencies"]:
    bound = re.fullmatch(r"([\w.-]+)>=([\d.]+)(,<[\d.]+)?", requirement)
    if bound is None:
        raise SystemExit(f"{requirement!r} has no lower bound: write it as NAME>=VERSION")
    print(f"{bound[1]}=={bound[2]}")
