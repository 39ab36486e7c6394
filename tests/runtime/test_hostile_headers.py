"""What stands before a picture's pixels, made to be costly, to crash or to hide something; and what only looks so."""

import struct

import bombs
import numpy as np
import pytest

from fmnist_edge_runtime.errors import ImageError
from fmnist_edge_runtime.jpeg import count_scans
from fmnist_edge_runtime.reader import read_picture


def read(source):
    return read_picture(source, 28, 28)


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_exif_data_of_more_than_a_megabyte_are_refused_in_words(kind):
    content = bombs.saved(kind, "RGB", 60, exif=b"Exif\0\0" + bombs.exif(600_000))
    with pytest.raises(ImageError, match="more than 1 MiB of Exif data"):
        read(content)


def before_tables(content, more):
    return content.replace(b"\xff\xdb", more + b"\xff\xdb", 1)


def test_padding_before_a_marker_hides_no_exif_data():
    padded = b"\xff" + bombs.jpeg_segment(0xE1, b"Exif\0\0" + bytes(10))
    with pytest.raises(ImageError, match="more than 64 parts of Exif data"):
        read(before_tables(bombs.saved("JPEG", "RGB", 60), padded * 65))


def test_nor_does_it_make_a_large_jpeg_one_of_many_scans():
    content = bombs.LARGEST["JPEG, 50 Mpx"]()
    assert read(content.replace(b"\xff\xda", b"\xff\xff\xff\xda", 1)).read_as == "photo"


def test_a_second_head_hides_no_exif_data():
    costly = b"Exif\0\0" + bombs.exif_of_one_place(5_000, 30_000)
    with pytest.raises(ImageError, match="its tags hold more than they can"):
        read(bombs.png(60, 60, 8, bombs.GREY, bombs.chunk(b"eXIf", costly)))


def test_exif_data_of_heads_alone_are_refused_and_not_taken_off_one_by_one():
    with pytest.raises(ImageError, match=r"Exif data with more than two heads; save it anew, as PNG or JPEG$"):
        read(bombs.png(60, 60, 8, bombs.GREY, bombs.chunk(b"eXIf", b"Exif\0\0" * 170_000)))


def test_a_list_of_the_pictures_in_a_jpeg_holds_no_more_than_its_segment():
    costly = bombs.jpeg_segment(0xE2, b"MPF\0" + bombs.exif_of_one_place(20, 8_000))
    with pytest.raises(ImageError, match="its tags hold more than they can"):
        read(before_tables(bombs.saved("JPEG", "RGB", 60), costly))


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_what_is_kept_beside_the_pixels_is_bounded(kind):
    comments = bombs.jpeg_segment(0xFE, bytes(60_000)) * 140
    content = {
        "JPEG": before_tables(bombs.saved("JPEG", "RGB", 60), comments),
        "PNG": bombs.png(60, 60, 8, bombs.GREY, bombs.chunk(b"prVt", bytes(8_400_000))),
    }
    with pytest.raises(ImageError, match="more than 8 MiB beside its pixels"):
        read(content[kind])


def test_a_jpeg_that_ends_in_nothing_is_not_searched_byte_by_byte():
    with pytest.raises(ImageError, match="more than 1 MiB between its segments"):
        read(b"\xff\xd8\xff\xe0\0\4ab" + bytes(2_000_000))


@pytest.mark.filterwarnings("ignore::UserWarning")  # whose words are those of Pillow's version
def test_exif_data_that_were_cut_short_hide_no_picture():
    cut = b"II*\0" + struct.pack("<IHHHIII", 8, 1, 37_500, 7, 60_000, 26, 0) + bytes(100)
    assert read(bombs.saved("JPEG", "RGB", 60, exif=b"Exif\0\0" + cut)).read_as == "photo"


def test_a_tiff_whose_tags_hold_more_than_the_file_is_refused():
    content = bombs.tiff(1, 1, turn=1, content=b"\0")
    lie = content.replace(bombs.TURN, struct.pack("<HHII", 274, 7, 10**9, 8))
    with pytest.raises(ImageError, match="its tags hold more than they can"):
        read(lie)


@pytest.mark.parametrize("kind", [0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF])
def test_a_jpeg_that_is_lossless_or_of_arithmetic_codes_is_refused(kind):
    content = bombs.saved("JPEG", "RGB", 60).replace(b"\xff\xc0", bytes((0xFF, kind)), 1)
    with pytest.raises(ImageError, match="a lossless, hierarchical or arithmetic-coded JPEG, which is not read"):
        read(content)


def test_a_jpeg_has_one_frame_header_of_few_components():
    content = bombs.saved("JPEG", "RGB", 60)
    at = content.index(b"\xff\xc0")
    twice = content[:at] + content[at : at + 19] + content[at:]
    long = before_tables(bombs.saved("JPEG", "RGB", 60), bombs.jpeg_segment(0xC0, bytes(6 + 3 * 5)))
    for made in (twice, long):
        with pytest.raises(ImageError, match="more than one frame header, or one of too many components"):
            read(made)


def test_a_jpeg_has_few_segments_of_resources():
    with pytest.raises(ImageError, match="more than 64 segments of resources"):
        read(before_tables(bombs.saved("JPEG", "RGB", 60), bombs.jpeg_segment(0xED, b"Photoshop 3.0\0") * 65))


def test_scans_are_counted_up_to_the_end_of_the_image_and_no_further():
    scan = bombs.scans(60, 1)[len(bombs.saved("JPEG", "L", 60, progressive=True)) - 2 : -2]
    whole = bombs.saved("JPEG", "L", 60, progressive=True)
    assert count_scans(whole) == whole.count(b"\xff\xda")
    false_end = bombs.jpeg_segment(0xFE, b"\xff\xd9")
    assert count_scans(whole[:-2] + false_end + 20 * scan + whole[-2:]) == count_scans(whole) + 20
    assert count_scans(whole + 20 * scan) == count_scans(whole)


def test_a_jpeg_with_a_film_behind_it_is_read():
    film = np.random.default_rng(0).integers(0, 256, 8_000_000, np.uint8).tobytes()
    assert read(bombs.saved("JPEG", "RGB", 3_000, progressive=True) + film).read_as == "photo"


def test_jpeg_in_a_tiff_is_read_if_it_is_in_one_scan():
    def tiff(content):
        return bombs.tiff(64, 64, rows=64, compression=7, content=content)

    assert read(tiff(bombs.saved("JPEG", "L", 64))).read_as == "photo"
    for made in (bombs.saved("JPEG", "L", 64, progressive=True), bombs.one_colour_first()):
        with pytest.raises(ImageError, match="JPEG in it that is not in one scan"):
            read(tiff(made))


def test_tiles_far_larger_than_the_picture_are_refused():
    with pytest.raises(ImageError, match="its tiles cover its 1 x 640 pixels too often"):
        read(bombs.tiff(1, 640, tile_width=4_000_000, tile_height=16, strips=40, compression=8, content=b"\0"))


def test_strips_one_upon_another_are_counted_by_their_bytes():
    with pytest.raises(ImageError, match="more than 64 MiB in its strips"):
        read(bombs.tiff(1, 2_000, rows=1, strips=2_000, compression=32_773, content=bytes(100_000)))


def test_exif_data_of_a_tiff_hold_few_numbers():
    with pytest.raises(ImageError, match="more than 20,000 numbers in its tags"):
        read(bombs.tiff_with_directory(30_000))


def test_what_leads_to_exif_data_is_a_place():
    whole = bombs.tiff(1, 1, turn=1, content=b"\0")
    with pytest.raises(ImageError, match="a directory that is nowhere"):
        read(whole.replace(bombs.TURN, struct.pack("<HHII", 34_665, 3, 1, len(whole))) + bytes(100))


def test_texts_of_a_png_are_counted_as_what_they_may_be_unpacked():
    short = bombs.chunk(b"iTXt", b"Title\0\0\0ja\0\0" + "\U0001f600".encode() * 5)
    assert read(bombs.png(60, 60, 8, bombs.GREY, short * 100)).read_as == "photo"
    assert read(bombs.png(60, 60, 8, bombs.GREY, bombs.packed_text() * 8)).read_as == "photo"
    with pytest.raises(ImageError, match="more than 32 MiB of texts"):
        read(bombs.png(60, 60, 8, bombs.GREY, bombs.packed_text() * 9))


def test_exif_data_as_text_are_not_split_into_any_number_of_lines():
    with pytest.raises(ImageError, match="more than 3 MiB, or 100,000 lines, of Exif data as text"):
        read(bombs.png(60, 60, 8, bombs.GREY, bombs.chunk(b"tEXt", b"Raw profile type exif\0" + b"\n" * 200_000)))


def test_what_only_begins_like_a_ppm_is_no_image():
    with pytest.raises(ImageError, match="not an image, or none that can be read"):
        read(b"PK\3\4" + bytes(2_000_000))


def test_a_large_header_does_not_hide_that_there_are_too_many_pixels():
    with pytest.raises(ImageError, match="more than 50,000,000 pixels"):
        read(b"P4 20000 20000\n" + bytes(2_000_000))


@pytest.mark.parametrize("kind", ["PGM", "TIFF"])
def test_what_is_large_and_ordinary_is_read(kind):
    """A screen of 10 bits; three curves of 16 bits, the largest tag that TIFF knows of."""
    tiff = bombs.tiff(60, 60, rows=60, turn=1, content=bytes(3600))
    curves = tiff.replace(bombs.TURN, struct.pack("<HHII", 301, 3, 3 * 65_536, len(tiff)))
    content = {"PGM": b"P5 1920 1080 1023\n" + bytes(2 * 1920 * 1080), "TIFF": curves + bytes(6 * 65_536)}
    assert read(content[kind]).read_as == "photo"


def test_a_jpeg_of_50_megapixels_with_a_preview_inside_is_read():
    """As phones write them: the preview's own scan is not taken for one of the picture's."""
    preview = bombs.saved("JPEG", "RGB", 160)
    exif = b"Exif\0\0" + b"II*\0\x08\0\0\0\0\0\0\0\0\0" + preview
    assert read(bombs.saved("JPEG", "RGB", 7_068, exif=exif, quality=20)).read_as == "photo"


@pytest.mark.parametrize(
    "made",
    [
        b"II*\0\x08\0\0\0\xff\xff",
        b"II+\0\x08\0\0\0\x10" + bytes(7) + b"\xff\0\0\0\0\0\0\0",
        b"II*\0\xff\xff\xff\xff",
        b"II*\0",
    ],
)
def test_a_tiff_whose_directory_is_not_in_it_is_refused(made):
    with pytest.raises(ImageError, match="its directory is beyond its end"):
        read(made)
