"""Patient-hours a second of a recurrent network fed row by row, 10,000 patients at a time; bar: 100,000.

One process, one batch: each round feeds 48 hours, an hour at a time, state in and state out, as `galenic.series.step`
does. On real stays the answer of the last hour is compared with the whole-sequence run; bar: 1e-5.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from statistics import median

import torch

from galenic import sources
from galenic.core.fit import Job, open_job
from galenic.core.progress import Silent
from galenic.series.step import Stepper
from records import keep, verdict

BAR, CLOSE = 100_000, 1e-5
TASK = "icu_mortality"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", default=["gru", "lstm", "gru_d"])
    parser.add_argument("--patients", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--compared", type=int, default=256, help="real stays whose answers are compared")
    parser.add_argument("--record", action="store_true")
    given = parser.parse_args()
    found = sources.find(TASK)
    for name in given.networks:
        job = Job(found.task, found.table, found.root, Path(), budget="5m", network=name, split=found.split)
        work = open_job(job, Silent(), cache=False)
        network = work.build().eval()
        stepper = Stepper(network)
        rows = work.split.rows("train")[: given.compared]
        prepared = [work.ready[row] for row in rows]
        arrays = [torch.stack([torch.from_numpy(one.arrays[own]) for one in prepared]) for own in network.inputs]
        steps = stepper.rows(*arrays)
        with torch.inference_mode():
            whole = network(*arrays)[0]
        state = stepper.start(len(rows))
        for hour in range(steps.shape[1]):
            state, outputs = stepper.step(state, steps[:, hour])
        apart = float((outputs[network.outputs[0]] - whole).abs().max())
        many = steps.repeat(-(-given.patients // len(rows)), 1, 1)[: given.patients].transpose(0, 1).contiguous()
        took = []
        for _ in range(given.rounds + 1):
            state, began = stepper.start(given.patients), time.perf_counter()
            for hour in many:
                state, _ = stepper.step(state, hour)
            took.append(time.perf_counter() - began)
        rate = given.patients * len(many) / median(took[1:])
        print(
            f"{name}, {given.patients} patients, {many.shape[2]} numbers an hour: {rate:,.0f} patient-hours a second, "
            f"bar {BAR:,}: {verdict(rate >= BAR)}; apart from the whole-sequence run by {apart:.1e}, bar {CLOSE:.0e}: "
            f"{verdict(apart <= CLOSE)}"
        )
        measured = {
            "network": name, "hidden": network.hidden, "patients": given.patients, "hours": len(many),
            "patient_hours_a_second": round(rate), "apart": apart, "met": rate >= BAR and apart <= CLOSE,
        }  # fmt: skip
        keep("live_step", measured, wanted=given.record)


if __name__ == "__main__":
    main()
