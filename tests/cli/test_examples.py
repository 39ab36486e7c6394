import subprocess
import sys

from PIL import Image


def test_the_contact_sheet_draws_a_tile_a_picture(root, tmp_path):
    command = [sys.executable, root / "examples/contact_sheet.py", root / "examples/pictures", tmp_path / "sheet.png"]
    subprocess.run(command, check=True)
    with Image.open(tmp_path / "sheet.png") as sheet, Image.open(root / "docs/predictions.png") as committed:
        assert sheet.size == committed.size == (5 * 168, 2 * 212)
        assert len(sheet.getcolors(100_000)) > 50
