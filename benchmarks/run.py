"""Run the scripts one after the other and write benchmarks/results/PLATFORM.md and .json.

    python benchmarks/run.py --only single_clip gradient

    python benchmarks/run.py --device

The second is for an accelerator, in ten minutes: parity with the released code, how fast predictions, gradients,
syntheses and trainings are beside the released package, and what the programs take and what was modelled. What a step
wrote before it failed is kept.

With the released package on PYTHONPATH there is a column for it; nothing else runs on the machine meanwhile, please.
Results of scripts that are not run stay as they are; those of --quick go into files of their own.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import report

HERE = Path(__file__).parent
# In the order of the report; scripts that are not there are left out.
SCRIPTS = (
    *("single_clip", "batch", "units", "gradient", "long_video", "startup", "devices", "roofline", "precision"),
    "torch_compile",
    "tuning",
    "synthesis",
    "training",
    "evaluation",
)
# Of --device, with the seconds that each may take.
DEVICE = {"parity": 90, "beside": 150, "learning": 150, "device": 210}
SWITCHES = {"compile": ("single_clip", "batch"), "large": ("batch",)}


def run(command, environment, limit_s):
    """What went wrong, or nothing."""
    try:
        code = subprocess.run(command, env=environment, timeout=limit_s).returncode
    except subprocess.TimeoutExpired:
        return f"was stopped after {limit_s} s"
    return f"ended with code {code}" if code else ""


def main():
    scripts = [name for name in (*SCRIPTS, *DEVICE) if (HERE / f"{name}.py").exists()]
    kind = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=kind, allow_abbrev=False)
    parser.add_argument("--only", nargs="+", choices=scripts, metavar="NAME", help=", ".join(scripts))
    parser.add_argument("--device", action="store_true", help=f"for an accelerator: {', '.join(DEVICE)}")
    parser.add_argument("--quick", action="store_true", help="tiny sizes, to see that everything runs")
    parser.add_argument("--alone", action="store_true", help="leave the released package out")
    parser.add_argument("--compile", action="store_true", help="single_clip, batch: a column with torch.compile")
    parser.add_argument("--large", action="store_true", help="batch: the whole size also on a CPU")
    parser.add_argument("--output", type=Path, default=HERE / "results", help="folder to write")
    options = parser.parse_args()

    # What is compiled is compiled anew: it is measured.
    environment = {key: value for key, value in os.environ.items() if key != "JAX_COMPILATION_CACHE_DIR"}
    failed = []
    for name in options.only or (DEVICE if options.device else [name for name in scripts if name in SCRIPTS]):
        print(f"\n== {name}", flush=True)
        switches = [f"--{switch}" for switch in ("quick", "alone") if getattr(options, switch)]
        switches += [f"--{switch}" for switch in SWITCHES if getattr(options, switch) and name in SWITCHES[switch]]
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"{name}.json"
            command = [sys.executable, str(HERE / f"{name}.py"), *switches, "--json", str(path)]
            problem = run(command, environment, DEVICE.get(name) if options.device else None)
            if problem:
                failed.append(f"{name} ({problem})")
            if not path.exists():
                continue
            table = json.loads(path.read_text())
            if problem:
                table["notes"].append(f"Not whole: it {problem}.")
        platform = table["machine"]["platform"] + ("-quick" if options.quick else "")
        written = report.merge(options.output, platform, {name: table}, (*DEVICE, *SCRIPTS))
        print(f"\nWrote {written}", flush=True)
    if failed:
        sys.exit(f"Failed, and what was there of them is kept: {', '.join(failed)}.")


if __name__ == "__main__":
    main()
