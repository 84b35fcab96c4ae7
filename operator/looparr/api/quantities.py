"""Byte quantities as Kubernetes writes them: `50Gi`, `64Ki`, `500M`, plain bytes."""

from __future__ import annotations

import re
from typing import Annotated

from looparr.api.schema import Text

QUANTITY_PATTERN = r"^[0-9]{1,15}(\.[0-9]{1,3})?(Ki|Mi|Gi|Ti|k|M|G|T)?$"
QUANTITY_MAX_LENGTH = 24
_UNITS = {"": 1, "k": 10**3, "M": 10**6, "G": 10**9, "T": 10**12, "Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40}


def parse_quantity(text: str) -> int:
    """Give the bytes of a quantity. Raises ValueError that says what a quantity looks like."""
    if len(text) > QUANTITY_MAX_LENGTH or not re.fullmatch(QUANTITY_PATTERN, text):
        raise ValueError(f"{text!r} is not a quantity of bytes: write it like 50Gi, 512Ki or 700M")
    number = text.rstrip("KMGTik")
    return int(float(number) * _UNITS[text[len(number) :]])


Quantity = Annotated[
    str, Text(QUANTITY_PATTERN, "a quantity of bytes is written like 50Gi, 512Ki or 700M", QUANTITY_MAX_LENGTH)
]
"""A byte quantity in a spec; stays the user's own text, `parse_quantity` gives bytes."""

RATIO_PATTERN = r"^[0-9]{1,6}(\.[0-9]{1,4})?$"
RATIO_MAX_LENGTH = 11


def parse_ratio(text: str) -> float:
    """Give the number of a decimal string such as "1.5" (specs hold no floats)."""
    if not re.fullmatch(RATIO_PATTERN, text):
        raise ValueError(f'{text!r} is not a ratio: write it as a string like "1.5"')
    return float(text)


Ratio = Annotated[str, Text(RATIO_PATTERN, 'a ratio is written as a string like "1.5"', RATIO_MAX_LENGTH)]
"""A decimal number as a string; specs hold no floats. `parse_ratio` gives the number."""
