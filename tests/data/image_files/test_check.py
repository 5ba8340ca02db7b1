from __future__ import annotations

from resrepro.data.image_files.check import kind_of
from support.images import encoded, picture


def test_kinds_are_told_by_the_content() -> None:
    image = picture(20, 30)
    assert kind_of(encoded(image)) == kind_of(encoded(image, progressive=True)) == "JPEG"
    assert kind_of(encoded(image.convert("L"))) == "JPEG, grayscale"
    assert kind_of(encoded(image.convert("CMYK"))) == "JPEG, CMYK"
    assert kind_of(encoded(image, "PNG")) == "PNG" and kind_of(encoded(image, "BMP")) == "other"
