"""Control files and catalogues for tests that run the agent."""

from __future__ import annotations

from testwarden import seeded

ADDRESS = "0037cfa13eae4393841cbc00c3a33cade0f98b8c1f20826e5c51f8269e7b09d7"


def task(ref: str, kind: str, *, minute: int | None = None, **options: object) -> str:
    """Return a `<Task>` of a control file; its minute follows from its reference, so that no two have the same."""
    minute = 30 + int(ref) if minute is None else minute
    pairs = "".join(f'<Option key="{key}" value="{str(value).lower()}"/>' for key, value in options.items())
    asked = f"<TestOptions>{pairs}</TestOptions>" if pairs else ""
    return (
        f"<Task><TaskRef>{ref}</TaskRef><Description>{kind} for a test</Description><TimePeriod>{minute}</TimePeriod>"
        f"<TimeOffset>0</TimeOffset><TestType>{kind}</TestType>{asked}</Task>\n"
    )


def control_files(*tasks: str) -> dict[str, str]:
    """Return a control file with these tasks, and catalogues that both the embedded network and the stand-ins serve.

    On the embedded network use `small` downloads: the `tiny` one is what the ant stand-ins have.
    """
    seeds = [("tiny", 21, 3000), ("small", 22, 100_000)]
    rows = "".join(f"{size},{seed},{count},{seeded.md5(seed, count)}\n" for size, seed, count in seeds)
    small = f"small,small.bin,{seeded.address(7, 50_000)},{seeded.md5(7, 50_000)}\n"
    return {
        "00-control.xml": f"<Schedule>\n{''.join(tasks)}</Schedule>\n",
        "01-download-files.csv": f"fileSize,name,address,md5\ntiny,nine.bin,{ADDRESS},0\n{small}",
        "02-quote-files.csv": f"fileSize,seed,size,md5\n{rows}",
        "03-upload-files.csv": f"fileSize,seed,size,md5\n{rows}",
    }
