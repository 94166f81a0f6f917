"""What is free is known from the system's own files; a command that needs more says so in one line."""

from __future__ import annotations

import pytest

from dnas.errors import UserError, what_to_try
from dnas.process import free_memory

GB = 10**9


def system(root, group: str, files: dict[str, str]):
    """A folder with the files that a system shows."""
    shown = {"proc/meminfo": f"MemTotal: 9 kB\nMemAvailable: {8 * GB // 1024} kB\n", "proc/self/cgroup": group}
    for name, text in (shown | files).items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def limited(folder: str, limit: int | str, used: int, cached: int) -> dict[str, str]:
    return {
        f"sys/fs/cgroup/{folder}memory.max": f"{limit}\n", f"sys/fs/cgroup/{folder}memory.current": f"{used}\n",
        f"sys/fs/cgroup/{folder}memory.stat": f"anon 1\ninactive_file {cached}\n",
    }  # fmt: skip


def test_the_machine_alone(tmp_path):
    assert free_memory.of_machine(system(tmp_path, "0::/\n", {})) == pytest.approx(8 * GB, abs=1024)


def test_the_tightest_limit_around_the_process_counts(tmp_path):
    files = limited("a/b/", "max", GB, 0) | limited("a/", 3 * GB, 2 * GB, GB // 2) | limited("", 7 * GB, 2 * GB, 0)
    assert free_memory.of_machine(system(tmp_path, "0::/a/b\n", files)) == 3 * GB // 2


def test_inside_a_container_the_group_is_the_mount(tmp_path):
    files = limited("", 2 * GB, GB // 2, 0)
    assert free_memory.of_machine(system(tmp_path, "0::/docker/of-the-host\n", files)) == 3 * GB // 2


def test_groups_of_the_first_version(tmp_path):
    group = "5:cpu:/x\n4:memory,hugetlb:/x\n"
    files = {
        "sys/fs/cgroup/memory/x/memory.limit_in_bytes": str(2 * GB),
        "sys/fs/cgroup/memory/x/memory.usage_in_bytes": str(GB),
        "sys/fs/cgroup/memory/x/memory.stat": "total_inactive_file 7\n",
        "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712",
        "sys/fs/cgroup/memory/memory.usage_in_bytes": str(5 * GB),
        "sys/fs/cgroup/memory/memory.stat": "total_inactive_file 7\n",
    }
    assert free_memory.of_machine(system(tmp_path, group, files)) == GB + 7


def test_files_read_twice_give_way_too(tmp_path):
    """After an epoch over files a container seemed full of them."""
    files = limited("", 16 * GB, 15 * GB, 2 * GB)
    files["sys/fs/cgroup/memory.stat"] += f"active_file {4 * GB}\n"
    assert free_memory.of_machine(system(tmp_path, "0::/\n", files)) == 7 * GB


def test_the_whole_memory_is_that_of_the_machine_or_the_tightest_limit(tmp_path):
    files = {"proc/meminfo": f"MemTotal: {8 * GB // 1024} kB\nMemAvailable: 9 kB\n"}
    assert free_memory.whole(system(tmp_path, "0::/\n", files)) == pytest.approx(8 * GB, abs=1024)
    files |= limited("a/", 3 * GB, 2 * GB, 0) | limited("", 7 * GB, 7 * GB, 0)
    assert free_memory.whole(system(tmp_path, "0::/a\n", files)) == 3 * GB


def test_an_accelerator_of_another_host_is_not_asked(monkeypatch):
    """Only a process's own devices tell of their memory; the first of all is another's in all processes but one."""

    class Device:
        platform = "gpu"

        def __init__(self, known):
            self.memory_stats = lambda: known if known else pytest.fail("not addressable")

    own = Device({"bytes_limit": 3 * GB, "bytes_in_use": GB})
    monkeypatch.setattr("jax.devices", lambda: [Device(None), own])
    monkeypatch.setattr("jax.local_devices", lambda: [own])
    assert free_memory.on_device() == 2 * GB


def test_what_needs_more_is_refused_with_what_to_try(monkeypatch):
    monkeypatch.setattr(free_memory, "on_device", lambda: 2 * GB)
    free_memory.check(2 * GB, "the search", "a smaller --batch-size")
    with pytest.raises(UserError, match="the search needs about 3.00 GB, and 2.00 GB are free; try a smaller --batch"):
        free_memory.check(3 * GB, "the search", "a smaller --batch-size")
    monkeypatch.setattr(free_memory, "on_device", lambda: None)
    free_memory.check(10**15, "the search", "nothing is known")


class XlaRuntimeError(RuntimeError):
    """As older versions of jaxlib name it."""


@pytest.mark.parametrize(
    "error",
    [
        XlaRuntimeError("RESOURCE_EXHAUSTED: Out of memory while trying to allocate 8 bytes."),
        XlaRuntimeError("INTERNAL: Error dispatching computation: Buffer: Out of memory allocating 25984064904 bytes."),
        RuntimeError("INTERNAL: Failed to allocate 25984064904 bytes for new constant"),
        RuntimeError("[ONNXRuntimeError] : 6 : RUNTIME_EXCEPTION : Failed to allocate memory for requested buffer"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes. Error code 12"),
        RuntimeError("std::bad_alloc"),
        MemoryError("Unable to allocate 1. GiB for an array"),
        OSError(12, "Cannot allocate memory"),
    ],
)
def test_every_wording_of_no_memory_is_one_line(error):
    line = what_to_try(error)
    assert line is not None and line.startswith("out of memory; try") and "--batch-size" in line and "\n" not in line


def test_a_name_that_no_file_can_have_is_one_line(tmp_path):
    with pytest.raises(OSError) as caught:
        (tmp_path / ("n" * 300)).exists()
    assert (what_to_try(caught.value) or "").endswith("nn: this name is too long for a file system; take a shorter one")


@pytest.mark.parametrize(
    "error", [RuntimeError("INVALID_ARGUMENT: shapes"), TypeError("out of memory"), OSError(9, "x")]
)
def test_other_errors_are_ours(error):
    assert what_to_try(error) is None
