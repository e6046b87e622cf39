/** From results to the lines of the growth curve. */

import type { Region, Result, ScoredForecast } from "../api";

export const DAY_S = 86_400;

/** A measured value with its 95 % uncertainty; null where the lesion was not looked for. */
export interface Measured {
  at: number;
  ml: number;
  half: number;
}

export function seconds(date: string): number {
  return Date.parse(`${date}T00:00:00Z`) / 1000;
}

export function totalMl(result: Result, region: Region = result.target): number {
  return result.lesions.reduce((sum, lesion) => sum + (lesion.measurement?.volumes_ml[region] ?? 0), 0);
}

/** One lesion, or all together (`lesion` empty): their errors are taken as independent. */
export function measured(results: Result[], region: Region, lesion: string): Measured[] {
  return results.map((r) => {
    const counted = r.lesions.filter((l) => !lesion || l.tracking_uid === lesion);
    const variance = counted.reduce((sum, l) => sum + (l.measurement?.volume_sd_ml[region] ?? 0) ** 2, 0);
    const total = counted.reduce((sum, l) => sum + (l.measurement?.volumes_ml[region] ?? 0), 0);
    return { at: seconds(r.timepoint.acquired), ml: total, half: 1.96 * Math.sqrt(variance) };
  });
}

/** The fan of one forecast from the volume that it started at. */
export interface Fan {
  at: number[];
  median: number[];
  lower: number[];
  upper: number[];
}

export function fan(forecast: ScoredForecast): Fan {
  const start = seconds(forecast.made);
  const v = forecast.last_observed_ml;
  const made: Fan = { at: [start], median: [v], lower: [v], upper: [v] };
  for (const point of forecast.points) {
    made.at.push(start + point.horizon_days * DAY_S);
    made.median.push(point.median_ml);
    made.lower.push(point.lower_ml);
    made.upper.push(point.upper_ml);
  }
  return made;
}

/** The value of a line at each of `times`, null outside of it. */
export function sampled(times: number[], at: number[], values: number[]): (number | null)[] {
  return times.map((time) => {
    const after = at.findIndex((x) => x >= time);
    if (after < 0 || time < (at[0] ?? Infinity)) return null;
    const right = at[after] as number;
    const b = values[after] as number;
    if (right === time || after === 0) return b;
    const left = at[after - 1] as number;
    const a = values[after - 1] as number;
    return a + ((b - a) * (time - left)) / (right - left);
  });
}
