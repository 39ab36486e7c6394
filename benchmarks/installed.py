"""What the base install brings: every distribution with its size, and what each is there for.

    python benchmarks/installed.py

Builds the wheel of this working tree, installs it into a fresh environment, and asks that environment.
"""

import json
import os
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
ASK = """
import json, re
from importlib.metadata import distributions

def needs(found):
    lines = [line for line in found.requires or [] if "extra ==" not in line]
    return [re.match(r"[A-Za-z0-9._-]+", line)[0].lower().replace("_", "-") for line in lines]

print(json.dumps([
    {
        "name": found.metadata["Name"].lower().replace("_", "-"),
        "version": found.version,
        "bytes": sum(path.locate().stat().st_size for path in found.files or [] if path.locate().is_file()),
        "needs": needs(found),
    }
    for found in distributions()
]))
"""


def main() -> None:
    """Install, measure, print the table, largest first."""
    with tempfile.TemporaryDirectory() as place:
        pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q"]
        subprocess.run([*pip, "wheel", ROOT, "--no-deps", "--wheel-dir", place], check=True)
        environment = Path(place) / "environment"
        venv.create(environment, with_pip=False, symlinks=os.name != "nt")
        python = environment / ("Scripts" if os.name == "nt" else "bin") / Path(sys.executable).name
        wheel = next(Path(place).glob("*.whl"))
        subprocess.run([*pip, "--python", python, "install", "--no-compile", wheel], check=True)
        answer = subprocess.run([python, "-c", ASK], check=True, capture_output=True, text=True)
    found = json.loads(answer.stdout)
    wanted_by = {one["name"]: [other["name"] for other in found if one["name"] in other["needs"]] for one in found}
    print("| package | version | MB | wanted by |\n| --- | --- | --- | --- |")
    for one in sorted(found, key=lambda one: -one["bytes"]):
        print(f"| {one['name']} | {one['version']} | {one['bytes'] / 1e6:.1f} | {', '.join(wanted_by[one['name']])} |")
    print(f"| all {len(found)} | | {sum(one['bytes'] for one in found) / 1e6:.1f} | |")


if __name__ == "__main__":
    main()
