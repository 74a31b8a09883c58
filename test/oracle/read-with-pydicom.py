"""Reads every DICOM file under the given folder with pydicom and prints one JSON object per file, in lines:
what somebody else's reader sees. For the tests of this folder; --no-rows leaves the elements out."""

import hashlib
import json
import os
import sys
import warnings

import pydicom
from pydicom.multival import MultiValue

TEXT = {"PN", "LO", "SH", "ST", "LT", "UT", "UC", "CS", "AE", "UI", "DA", "TM", "DT", "DS", "IS", "AS", "UR"}


def value_of(element):
    value = element.value
    if value is None:
        return ""
    if isinstance(value, (bytes, bytearray)):
        return "hex:" + bytes(value[:4096]).hex()
    if element.VR in TEXT or isinstance(value, str):
        values = value if isinstance(value, MultiValue) else [value]
        return "\\".join(str(getattr(one, "original_string", one) if element.VR in ("DS", "IS") else one) for one in values)
    return str(list(value)) if isinstance(value, MultiValue) else str(value)


def rows_of(dataset, prefix):
    for element in dataset:
        path = f"{prefix}({element.tag.group:04X},{element.tag.elem:04X})"
        if element.tag == 0x7FE00010:
            continue
        creator = None
        if element.tag.is_private and element.tag.elem > 0xFF:
            owner = dataset.get((element.tag.group, element.tag.elem >> 8))
            creator = None if owner is None else str(owner.value)
        if element.VR == "SQ":
            yield {"path": path, "vr": "SQ", "value": str(len(element.value)), "creator": creator, "keyword": element.keyword}
            for at, item in enumerate(element.value):
                yield from rows_of(item, f"{path}[{at}]")
        else:
            row = {"path": path, "vr": element.VR, "value": value_of(element), "creator": creator, "keyword": element.keyword}
            yield row


def read(path, with_rows):
    with open(path, "rb") as file:
        raw = file.read()
    seen = {"file": path, "warnings": [], "error": None}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            dataset = pydicom.dcmread(path)
            pixels = bytes(dataset.PixelData) if "PixelData" in dataset else b""
            seen["pixels"] = hashlib.md5(pixels).hexdigest()
            seen["preamble"] = dataset.preamble is not None and any(dataset.preamble)
            # Only rows() decodes the values, and with them come the warnings.
            rows = list(rows_of(dataset, ""))
            seen["meta"] = list(rows_of(dataset.file_meta, ""))
            at = raw.rfind(pixels) if pixels else -1
            outside = raw if at < 0 else raw[:at] + raw[at + len(pixels) :]
            seen["outside"] = outside.decode("latin-1")
            seen["rows"] = rows
            if not with_rows:
                del seen["rows"], seen["meta"], seen["outside"]
        except Exception as error:  # any failure is what the caller wants to know
            seen["error"] = type(error).__name__
        seen["warnings"] = sorted({str(one.category.__name__) + ": " + str(one.message)[:80] for one in caught})
    return seen


for folder, _, names in os.walk(sys.argv[1]):
    for name in sorted(names):
        print(json.dumps(read(os.path.join(folder, name), "--no-rows" not in sys.argv)))
