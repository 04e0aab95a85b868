"""Reads and writes safetensors files with numpy and torch alone (Debian ships no python3-safetensors).

load_file(path) returns what safetensors.torch.load_file(path) returns: a dict of name -> torch tensor.
Layout: u64 header length, JSON header {name: {dtype, shape, data_offsets}}, the tensors' bytes, little endian.
"""
import json
import os
import struct

import torch

DTYPES = {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16,
          "I64": torch.int64, "I32": torch.int32, "I16": torch.int16, "I8": torch.int8, "U8": torch.uint8,
          "BOOL": torch.bool}
NAMES = {dtype: name for name, dtype in DTYPES.items()}


def read_header(path):
    """The header's entries, its metadata, and where the data begins; refuses a header that does not fit the file."""
    size = os.path.getsize(path)
    with open(path, "rb") as f:
        prefix = f.read(8)
        if len(prefix) < 8:
            raise ValueError(f"{path}: shorter than a safetensors prefix")
        (length,) = struct.unpack("<Q", prefix)
        if length > size - 8:
            raise ValueError(f"{path}: header of {length} bytes in a file of {size}")
        header = json.loads(f.read(length))
    metadata = header.pop("__metadata__", {})
    end = 0
    for name, entry in sorted(header.items(), key=lambda item: item[1]["data_offsets"]):
        begin, stop = entry["data_offsets"]
        count = 1
        for extent in entry["shape"]:
            count *= extent
        width = torch.empty(0, dtype=DTYPES[entry["dtype"]]).element_size()
        if begin != end or stop - begin != count * width:
            raise ValueError(f"{path}: tensor {name!r} has offsets {begin}..{stop}, expected {end}..{end + count * width}")
        end = stop
    if 8 + length + end != size:
        raise ValueError(f"{path}: {size} bytes, the header speaks of {8 + length + end}")
    return header, metadata, 8 + length


def load_file(path):
    header, _, base = read_header(path)
    with open(path, "rb") as f:
        f.seek(base)
        data = bytearray(f.read())
    tensors = {}
    for name, entry in header.items():
        begin, stop = entry["data_offsets"]
        dtype = DTYPES[entry["dtype"]]
        flat = torch.frombuffer(data[begin:stop], dtype=dtype) if stop > begin else torch.empty(0, dtype=dtype)
        tensors[name] = flat.reshape(entry["shape"])
    return tensors


def save_file(tensors, path, metadata=None):
    """Same order as the safetensors package: widest types first, then by name. Written beside, then renamed."""
    tensors = {name: t.detach().cpu().contiguous() for name, t in tensors.items()}
    names = sorted(tensors, key=lambda name: (-tensors[name].element_size(), name))
    header = {"__metadata__": metadata} if metadata else {}
    offset = 0
    for name in names:
        t = tensors[name]
        stop = offset + t.numel() * t.element_size()
        header[name] = {"dtype": NAMES[t.dtype], "shape": list(t.shape), "data_offsets": [offset, stop]}
        offset = stop
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    scratch = f"{path}.tmp"
    with open(scratch, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text)
        for name in names:
            f.write(tensors[name].numpy().tobytes() if tensors[name].dtype != torch.bfloat16
                    else tensors[name].view(torch.int16).numpy().tobytes())
    os.replace(scratch, path)
