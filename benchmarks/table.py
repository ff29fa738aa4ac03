"""The table of one script: printed, and written, row by row."""

import json
import os
import sys
import time
from datetime import date
from pathlib import Path

import report
from machine import commit, machine, others_s


class Results:
    """The table of one script: printed, and written, row by row."""

    def __init__(self, question, options):
        arguments = [a for a in sys.argv[1:] if not a.startswith("--json") and a != options.json]
        self.path, self.repeats = options.json and Path(options.json), options.repeats
        self._start = time.monotonic(), others_s()
        self.table = {
            "question": question.splitlines()[0],
            "command": " ".join([Path(sys.argv[0]).name, *arguments]),
            "date": date.today().isoformat(),
            "commit": commit(),
            "machine": machine(),
            "busy_cores": 0.0,
            "rows": [],
            "notes": [],
        }
        print(f"{self.table['question']}\n{report.describe(self.table['machine'])}\n", flush=True)
        if os.environ.get("JAX_COMPILATION_CACHE_DIR"):
            self.note("JAX_COMPILATION_CACHE_DIR is set: what was compiled before is read from there.")

    def add(self, name, cells, **raw):
        """A row: its cells, as text by column, and what they were made from."""
        self.table["rows"].append({"name": name, "cells": cells, "raw": raw})
        width = max(map(len, cells))
        print("\n".join([name, *(f"    {column:{width}}  {cell}" for column, cell in cells.items())]), flush=True)
        self._write()
        if warning := report.warning(self.table):
            print(f"    ({warning})", flush=True)

    def note(self, text):
        self.table["notes"].append(text)
        print(f"({text})", flush=True)
        self._write()

    def _write(self):
        start, others = self._start
        self.table["busy_cores"] = round((others_s() - others) / (time.monotonic() - start), 2)
        if self.path:
            self.path.write_text(json.dumps(self.table, indent=1))
