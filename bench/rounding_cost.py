"""What the rounding of a release costs a forecast: the shipped forecaster on histories as recorded and as released.

Both the scans that it reads and the scan that it forecasts carry the rounding, as they do for a recipient.

    python bench/rounding_cost.py [--patients 300] [--seed 77]
"""

from __future__ import annotations

import argparse
import json
from typing import Any

from inference.model_folder import SHIPPED_MODELS
from longitudinal.histories import Histories, Source
from longitudinal.release import ReleaseRules, prepare_release
from training.forecast.evaluate import evaluate
from training.simulate.histories import simulate_histories


def cost(patients: int, seed: int) -> list[dict[str, Any]]:
    simulated = simulate_histories(patients, seed=seed).histories.patients
    cohort = Histories(
        source=Source(kind="site-export"), patients=tuple(p.model_copy(update={"truth": None}) for p in simulated)
    )
    rows = [{"interval_days": 0, **errors(cohort)}]
    for days in (1, 7, 14, 30):
        # k = 1: the cost of rounding times and volumes alone, nobody loses a tumour type or a scan.
        release = prepare_release(cohort, ReleaseRules(k=1, interval_days=days))
        rows.append({"interval_days": days, **errors(release.histories)})
    return rows


def errors(histories: Histories) -> dict[str, Any]:
    report = evaluate(SHIPPED_MODELS / "forecast-1", histories)["horizons"]["all"]
    scores = report["methods"]["model"]
    return {"windows": report["windows"], **{name: scores[name] for name in ("mae_ml", "crps_ml", "coverage")}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--patients", type=int, default=300)
    parser.add_argument("--seed", type=int, default=77)
    arguments = parser.parse_args()
    print(json.dumps(cost(arguments.patients, arguments.seed), indent=1))


if __name__ == "__main__":
    main()
