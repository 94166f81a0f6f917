"""One picture to one array: orientation, transparency, modes, crop; against the same steps written out with Pillow."""

import io

import numpy as np
import pytest

from dnas.data import picture as picture_module
from dnas.data.picture import Unreadable, read_picture, read_size
from dnas.errors import InputError

Image = pytest.importorskip("PIL.Image")
ImageOps = pytest.importorskip("PIL.ImageOps")


def noise(width, height, channels=3, seed=0):
    shape = (height, width, channels) if channels > 1 else (height, width)
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def by_pillow(file, side, mode="RGB"):
    """What a deployer writes: the docstring's steps, one line each."""
    image = ImageOps.exif_transpose(Image.open(file))
    rgba = image.convert("RGBA")
    image = Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB").convert(mode)
    short, long = sorted(image.size)
    sizes = (side, int(side * long / short))
    image = image.resize(sizes if image.width <= image.height else sizes[::-1], Image.BILINEAR)
    top, left = (image.height - side) // 2, (image.width - side) // 2
    return np.asarray(image)[top : top + side, left : left + side].reshape(side, side, -1)


@pytest.mark.parametrize("size", [(40, 20), (20, 41), (33, 33), (7, 300), (64, 48)])
@pytest.mark.parametrize("side", [8, 17, 48])
@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "bmp"])
def test_pixels_are_those_of_the_steps_written_out(tmp_path, size, side, suffix):
    file = tmp_path / f"a.{suffix}"
    Image.fromarray(noise(*size)).save(file)
    for channels, mode in ((3, "RGB"), (1, "L")):
        found = read_picture(file, side, channels)
        assert found.pixels.shape == (side, side, channels) and found.pixels.dtype == np.uint8
        np.testing.assert_array_equal(found.pixels, by_pillow(file, side, mode))
        assert found.size == size and found.cut == pytest.approx(1 - min(size) / max(size))
        assert not (found.turned or found.transparent or found.several)
    assert read_size(file) == size


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif"])
def test_all_orientations_are_applied(tmp_path, orientation, suffix):
    """A picture that is stored turned gives the pixels of the upright one, bright in its upper left."""
    upright = np.zeros((24, 36), np.uint8)
    upright[:12, :18] = 255
    back = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # orientation -> the inverse of what a viewer does
    stored = Image.fromarray(upright).convert("RGB")
    if orientation > 1:
        stored = stored.transpose(back[orientation])
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored.save(tmp_path / f"a.{suffix}", exif=exif, **({"quality": 100} if suffix in ("jpg", "webp") else {}))
    found = read_picture(tmp_path / f"a.{suffix}", 8)
    assert found.size == (36, 24) and found.turned == (orientation > 1)
    assert found.pixels[:3, :3].min() > 240 and found.pixels[5:].max() < 15 and found.pixels[:, 6:].max() < 15


def transparent_files(folder):
    """The same disk, held by the alpha channel alone of a black image, in every form that formats have."""
    rows, columns = np.mgrid[:16, :16]
    disk = (rows - 8) ** 2 + (columns - 8) ** 2 < 25
    alpha, black = Image.fromarray(np.where(disk, 255, 0).astype(np.uint8)), Image.new("L", (16, 16), 0)
    Image.merge("RGBA", [black] * 3 + [alpha]).save(folder / "rgba.png")
    Image.merge("LA", [black, alpha]).save(folder / "la.png")
    Image.merge("RGBA", [black] * 3 + [alpha]).save(folder / "rgba.webp", lossless=True, exact=True)
    Image.merge("RGBA", [black] * 3 + [alpha]).save(folder / "rgba.tif")
    palette = Image.fromarray(disk.astype(np.uint8)).convert("P")
    palette.putpalette([0, 0, 0, 0, 0, 0])
    palette.save(folder / "p.png", transparency=0)
    palette.save(folder / "bytes.png", transparency=bytes([0, 255]))
    palette.save(folder / "p.gif", transparency=0)
    Image.fromarray(np.where(disk, 0, 7).astype(np.uint8)).save(folder / "l.png", transparency=7)
    key = Image.fromarray(np.where(disk[..., None], 0, [7, 8, 9]).astype(np.uint8))
    key.save(folder / "rgb.png", transparency=(7, 8, 9))
    return sorted(folder.iterdir())


def test_transparency_shows_white_in_every_form(tmp_path):
    files = transparent_files(tmp_path)
    assert len(files) == 9
    for file in files:
        for channels in (1, 3):
            found = read_picture(file, 16, channels)
            assert found.transparent, file.name
            assert found.pixels[8, 8].tolist() == [0] * channels, file.name
            assert found.pixels[0, 0].tolist() == [255] * channels, file.name


def test_an_alpha_channel_that_hides_nothing_changes_nothing(tmp_path):
    pixels = noise(12, 12)
    Image.fromarray(np.dstack([pixels, np.full((12, 12), 255, np.uint8)])).save(tmp_path / "a.png")
    found = read_picture(tmp_path / "a.png", 12)
    assert not found.transparent
    np.testing.assert_array_equal(found.pixels, pixels)


@pytest.mark.parametrize("mode", ["L", "P", "1", "CMYK", "YCbCr", "RGBX"])
def test_every_mode_is_read(tmp_path, mode):
    Image.fromarray(noise(9, 9)).convert(mode).save(tmp_path / "a.tif")
    np.testing.assert_array_equal(read_picture(tmp_path / "a.tif", 5).pixels, by_pillow(tmp_path / "a.tif", 5))


@pytest.mark.parametrize("form", ["gif", "png", "webp", "tif"])
def test_of_several_frames_the_first(tmp_path, form):
    frames = [Image.new("RGB", (6, 6), colour) for colour in ("red", "blue", "green")]
    frames[0].save(tmp_path / f"a.{form}", save_all=True, append_images=frames[1:])
    found = read_picture(tmp_path / f"a.{form}", 4)
    assert found.several and found.pixels[0, 0, 0] > 240 and found.pixels[..., 1:].max() < 15


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("kind", ["jpg", "png", "webp"])
def test_damaged_exif_counts_as_none(tmp_path, kind):
    for number, tail in enumerate((b"damaged!", b"", b"II*\0", b"II*\0\xff\xff\0\0")):
        for start in (b"Exif\0\0", b""):
            file = tmp_path / f"{number}.{kind}"
            Image.fromarray(noise(8, 8)).save(file, exif=start + tail)
            assert not read_picture(file, 8).turned


def test_what_cannot_be_read_is_named_with_a_reason(tmp_path, monkeypatch):
    for array, name, word in (
        (np.zeros((4, 4), np.uint16), "deep.png", "8-bit"), (np.zeros((4, 4), np.float32), "float.tif", "mode F"),
    ):  # fmt: skip
        Image.fromarray(array).save(tmp_path / name)
        with pytest.raises(Unreadable, match=word) as caught:
            read_picture(tmp_path / name, 4)
        assert str(caught.value).startswith(str(tmp_path / name)) and word in caught.value.reason
    (tmp_path / "none.png").write_bytes(b"hello")
    with pytest.raises(Unreadable, match="cannot identify image file it"):
        read_picture(tmp_path / "none.png", 4)
    assert read_size(tmp_path / "none.png") is None
    Image.fromarray(noise(100, 100)).save(buffer := io.BytesIO(), "PNG")
    with pytest.raises(Unreadable, match="picture: cannot be read"):
        read_picture(io.BytesIO(buffer.getvalue()[:3000]), 4)
    with pytest.raises(InputError, match="channels"):
        read_picture(tmp_path / "deep.png", 4, channels=2)
    Image.new("L", (1, 5000)).save(tmp_path / "narrow.png")
    monkeypatch.setattr(picture_module, "MAX_PIXELS", 100_000)
    with pytest.raises(Unreadable, match="too many"):
        read_picture(tmp_path / "narrow.png", 64)


def test_a_stream_is_read_like_its_file(tmp_path):
    Image.fromarray(noise(20, 30)).save(tmp_path / "a.png")
    with (tmp_path / "a.png").open("rb") as stream:
        np.testing.assert_array_equal(read_picture(stream, 8).pixels, read_picture(tmp_path / "a.png", 8).pixels)
