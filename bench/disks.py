"""The disks that are measured, and the changes made to them. Built once and kept; the same on the same machine."""

import os
import pathlib
import random
import shutil
import subprocess

BLOCK = 64 << 10
# Of the disk, in 64 KiB blocks at random places: what performance figures call C64.
CHANGED_SHARE = 0.05


def incompressible(path: pathlib.Path, size: int) -> None:
    """R: bytes that nothing can make smaller."""
    numbers = random.Random(11)
    with open(path, "wb") as disk:
        for _ in range(size >> 20):
            disk.write(numbers.randbytes(1 << 20))


def debian_like(path: pathlib.Path, size: int, content: int) -> None:
    """D: an ext4 file system with `content` bytes of this machine's own /usr, taken in the order of their names."""
    tree = path.with_suffix(".tree")
    shutil.rmtree(tree, ignore_errors=True)
    taken = 0
    for folder, folders, files in os.walk("/usr"):
        folders.sort()
        for name in sorted(files):
            file = pathlib.Path(folder, name)
            if file.is_symlink() or not file.is_file() or not os.access(file, os.R_OK):
                continue
            target = tree / file.relative_to("/")
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, target)
            taken += file.stat().st_size
            if taken >= content:
                break
        if taken >= content:
            break
    with open(path, "wb") as disk:
        disk.truncate(size)
    make = ["mke2fs", "-q", "-F", "-t", "ext4", "-E", "hash_seed=5a1d7c0e-0000-4000-8000-0000000000d1", "-d", str(tree)]
    subprocess.run([*make, str(path)], check=True, env={**os.environ, "PATH": os.environ["PATH"] + ":/usr/sbin:/sbin"})
    shutil.rmtree(tree)


def build(cache: pathlib.Path, full: bool) -> dict[str, pathlib.Path]:
    """The disks by name, made if they are not there yet."""
    cache.mkdir(parents=True, exist_ok=True)
    gib = 1 << 30
    wanted = {
        "D": (debian_like, 4 * gib, 1100 << 20) if full else (debian_like, gib, 320 << 20),
        "R": (incompressible, gib) if full else (incompressible, gib >> 2),
    }
    disks = {}
    for name, (make, size, *more) in wanted.items():
        path = cache / f"{name}-{size >> 20}.raw"
        if not path.exists():
            print(f"building disk {name}: {size >> 20} MiB", flush=True)
            unfinished = path.with_suffix(".new")
            make(unfinished, size, *more)
            unfinished.rename(path)
        disks[name] = path
    return disks


def small_changes(disk: pathlib.Path, seed: int) -> list[tuple[int, bytes]]:
    """C4: as many writes of 4 KiB as C64 has blocks, within used data, scattered."""
    numbers = random.Random(seed)
    size = disk.stat().st_size
    used = []
    with open(disk, "rb") as file:
        at = 0
        while at < size:
            try:
                at = os.lseek(file.fileno(), at, os.SEEK_DATA)
            except OSError:
                break
            end = os.lseek(file.fileno(), at, os.SEEK_HOLE)
            used += range(at // BLOCK, end // BLOCK)
            at = end
    places = numbers.sample(used, int(size // BLOCK * CHANGED_SHARE))
    return [(place * BLOCK + numbers.randrange(16) * 4096, numbers.randbytes(4096)) for place in sorted(places)]


def scattered_changes(size: int, seed: int) -> list[tuple[int, bytes]]:
    """C64: where to write, and what."""
    numbers = random.Random(seed)
    places = numbers.sample(range(size // BLOCK), int(size // BLOCK * CHANGED_SHARE))
    return [(place * BLOCK, numbers.randbytes(BLOCK)) for place in sorted(places)]
