/** The parts of the API that these pages read; keys as `/api/openapi.json` has them. */

export type Region = "whole" | "core" | "enhancing" | "oedema";

export interface StudyLine {
  study_key: string;
  patient_key: string | null;
  acquired: string | null;
  state: string;
  revision: number;
  reason: string;
  instances: number;
}

export interface PatientLine {
  patient_key: string;
  tumour_type: string | null;
  time_points: number;
  first: string | null;
  last: string | null;
}

export interface QuarantineItem {
  key: string;
  kind: string;
  study_key: string | null;
  reason: string;
  remedy: string;
  since: string;
  actions: string[];
}

export interface Change {
  reference: "baseline" | "nadir" | "previous";
  absolute_ml: number;
  relative: number | null;
  reliable: boolean;
}

export interface Lesion {
  tracking_uid: string;
  tracking_id: string;
  measurement: { volumes_ml: Record<Region, number> } | null;
  changes: Change[];
  response: string;
  is_new: boolean;
}

export interface ForecastPoint {
  horizon_days: number;
  median_ml: number;
  lower_ml: number;
  upper_ml: number;
  coverage: number;
}

export interface Result {
  revision: number;
  timepoint: { order: number; acquired: string; days_from_baseline: number; is_baseline: boolean; is_nadir: boolean };
  lesions: Lesion[];
  response: string;
  target: Region;
  forecast: { points: ForecastPoint[]; abstained: string | null; model: { name: string; version: string } } | null;
  segmentation: { name: string; version: string };
  preliminary: boolean;
  warnings: string[];
}

export interface History {
  patient_key: string;
  tumour_type: string | null;
  studies: { study_key: string; state: string; result: Result | null }[];
}

export interface Study extends StudyLine {
  evidence: Record<string, unknown>;
  deliveries: { destination: string; object: string; revision: number; state: string; attempts: number; error: string }[];
  quarantine: { key: string; reason: string; remedy: string }[];
  result: Result | null;
}

const TOKEN = "timepoint-token";

/** An answer that is not a success: its status and the sentence of the problem document. */
export class ApiError extends Error {
  constructor(
    readonly status: number,
    message: string,
  ) {
    super(message);
  }
}

/** Keep the token for this tab only. */
export function signIn(token: string): void {
  sessionStorage.setItem(TOKEN, token);
}

export async function get<T>(path: string): Promise<T> {
  return ask<T>("GET", path);
}

export async function post<T>(path: string): Promise<T> {
  return ask<T>("POST", path);
}

async function ask<T>(method: string, path: string): Promise<T> {
  const token = sessionStorage.getItem(TOKEN);
  const headers: Record<string, string> = token ? { Authorization: `Bearer ${token}` } : {};
  const answer = await fetch(`/api/v1/${path}`, { method, headers });
  const body: unknown = await answer.json().catch(() => null);
  if (!answer.ok) {
    const problem = body as { detail?: string } | null;
    throw new ApiError(answer.status, problem?.detail ?? `HTTP ${answer.status}`);
  }
  return body as T;
}
