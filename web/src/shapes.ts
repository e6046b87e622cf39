/** What the API answers with; keys as the gateway writes them. */

export type Region = "whole" | "core" | "enhancing" | "oedema";
export const REGIONS: Region[] = ["whole", "core", "enhancing", "oedema"];
export type Compartment = "necrotic" | "oedema" | "enhancing" | "cavity";

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
  compared?: Record<string, Record<string, unknown>>;
}

export interface Change {
  reference: "baseline" | "nadir" | "previous";
  absolute_ml: number;
  relative: number | null;
  reliable: boolean;
}

export interface Measurement {
  volumes_ml: Record<Region, number>;
  volume_sd_ml: Record<Region, number>;
  compartments_ml: Record<Compartment, number>;
  longest: { length_mm: number } | null;
  perpendicular: { length_mm: number } | null;
}

export interface Lesion {
  tracking_uid: string;
  tracking_id: string;
  measurement: Measurement | null;
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

export interface Forecast {
  region: Region;
  last_observed_ml: number;
  points: ForecastPoint[];
  abstained: string | null;
  model: { name: string; version: string };
}

export interface Score {
  study_key: string;
  interval_days: number;
  observed_ml: number;
  median_ml: number;
  lower_ml: number;
  upper_ml: number;
  inside: boolean;
}

export interface ScoredForecast extends Forecast {
  study_key: string;
  made: string;
  scores: Score[];
}

export interface Result {
  revision: number;
  timepoint: { order: number; acquired: string; days_from_baseline: number; is_baseline: boolean; is_nadir: boolean };
  lesions: Lesion[];
  response: string;
  target: Region;
  forecast: Forecast | null;
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
  study_instance_uid: string;
  evidence: Record<string, unknown>;
  deliveries: { destination: string; object: string; revision: number; state: string; attempts: number; error: string }[];
  quarantine: { key: string; reason: string; remedy: string }[];
  result: Result | null;
}

export type Matrix = number[][];
export type Triple = [number, number, number];

export interface Volume {
  study_key: string;
  patient_key: string;
  revision: number;
  contrasts: string[];
  registered: boolean;
  to_frame: Matrix;
  grid: { shape: Triple; affine_lps: Matrix };
  compartments: { name: Compartment; label: number }[];
  lesions: { index: number; diameters: { start: Triple; end: Triple; length_mm: number }[] }[];
}

export interface MeshLine {
  part: string;
  voxel_ml: number;
  mesh_ml: number;
  error: number;
  faces: number;
}

export interface Delivery {
  study_key: string;
  revision: number;
  destination: string;
  object: string;
  state: string;
  attempts: number;
  error: string;
  next_try: string | null;
  updated: string;
}

export interface Destination {
  name: string;
  kind: string;
  waiting: number;
  uncommitted: number;
  failed: number;
}

export interface AuditLink {
  seq: number;
  at: string;
  actor: string;
  action: string;
  subject: string;
  detail: Record<string, unknown>;
}

export interface Job {
  job_id: string;
  kind: string;
  state: string;
  created_at: number;
  updated_at: number;
  error: string | null;
}

export interface Simulated {
  studies: { study_key: string; acquired: string | null; state: string; decision: string; reason: string; differences: string[] }[];
  simulated: number;
  different: number;
}

export interface ModelLine {
  name: string;
  version: string;
  kind: string;
  weights_sha256: string;
}

export interface ExportLine {
  export_key: string;
  created: string;
  sha256: string;
  counts: Record<string, number>;
}

export interface Health {
  processes: { name: string; role: string; age_s: number; alive: boolean }[];
  studies: Record<string, number>;
  waiting: Record<string, number>;
  disk: { free_mb: number; needed_mb: number; total_mb: number };
}

export interface Who {
  name: string;
  role: "viewer" | "operator" | "admin";
  csrf: string;
}

export interface Treatment {
  treatment_key: string;
  kind: string;
  start: string;
  stop: string | null;
  agent: string | null;
  extent: string | null;
  stated_by: string;
}

/** What comes back from each path that is read. */
export interface Merge {
  surviving: string;
  retired: string;
  retired_issuers: string[];
  made_by: string;
  made: string;
  unmade_by: string;
  unmade: string | null;
}

export interface PriorSearch {
  patient_key: string;
  study_key: string;
  state: string;
  counts: Record<string, number>;
  problem: string;
  since: string;
}

export interface PriorStudy {
  study_instance_uid: string;
  study_key: string | null;
  acquired: string;
  state: string;
  expected_images: number;
  arrived_images: number;
  attempts: number;
  problem: string;
  same_patient: boolean | null;
}

export interface Answers {
  session: Who;
  studies: StudyLine[];
  "studies/{study_key}": Study;
  "studies/{study_key}/volume": Volume;
  "studies/{study_key}/meshes": MeshLine[];
  patients: PatientLine[];
  "patients/{patient_key}/history": History;
  "patients/{patient_key}/forecasts": ScoredForecast[];
  "patients/{patient_key}/treatments": Treatment[];
  quarantine: QuarantineItem[];
  "quarantine/{key}": QuarantineItem;
  destinations: Destination[];
  deliveries: Delivery[];
  merges: Merge[];
  priors: PriorSearch[];
  "patients/{patient_key}/priors": PriorSearch & { studies: PriorStudy[] };
  jobs: Job[];
  rules: Record<string, unknown>;
  models: ModelLine[];
  "models/{name}": { card: Record<string, unknown>; text: string };
  exports: ExportLine[];
  audit: AuditLink[];
  health: Health;
}
