/** The typed way to the API. Paths and parameters are checked against the gateway's own OpenAPI document
 * (`generated/openapi.d.ts`, made from `openapi.json` by `npm run api`); `shapes.ts` says what comes back. */

import type { paths } from "./generated/openapi";
import type { Answers } from "./shapes";

export * from "./shapes";

type Method = "get" | "post" | "delete";
type WithPrefix<M extends Method> = {
  [P in keyof paths]: P extends `/api/v1/${infer Rest}` ? (paths[P] extends Record<M, object> ? Rest : never) : never;
}[keyof paths];

/** The API's paths below `/api/v1/`, parameters in braces. */
export type GetPath = WithPrefix<"get">;
export type PostPath = WithPrefix<"post">;

type Operation<P extends string, M extends Method> = `/api/v1/${P}` extends infer Full
  ? Full extends keyof paths
    ? paths[Full] extends Record<M, infer O>
      ? O
      : never
    : never
  : never;
type Part<O, Name extends "path" | "query"> = O extends { parameters: infer All }
  ? Name extends keyof All
    ? [NonNullable<All[Name]>] extends [never]
      ? Record<never, never>
      : NonNullable<All[Name]>
    : Record<never, never>
  : Record<never, never>;

/** All parameters of an operation, those in the path and those of the query, as one object. */
export type Parameters<P extends string, M extends Method> = Part<Operation<P, M>, "path"> & Part<Operation<P, M>, "query">;

type Plain = Record<string, string | number | boolean | null | undefined>;

/** An answer that is not a success: its status and the sentence of the problem document. */
export class ApiError extends Error {
  constructor(
    readonly status: number,
    message: string,
  ) {
    super(message);
  }
}

let csrf = "";

/** What the session's changes have to carry; told at sign-in. */
export function useCsrf(value: string): void {
  csrf = value;
}

/** The address of an operation. */
export function address<P extends GetPath | PostPath>(path: P, parameters: Parameters<P, "get"> | Parameters<P, "post">): string {
  const left: Plain = { ...(parameters as Plain) };
  const filled = path.replace(/\{(\w+)\}/g, (_all, name: string) => {
    const value = String(left[name]);
    delete left[name];
    return encodeURIComponent(value);
  });
  const query = Object.entries(left).filter(([, value]) => value !== null && value !== undefined && value !== "");
  const text = new URLSearchParams(query.map(([key, value]) => [key, String(value)])).toString();
  return `/api/v1/${filled}${text ? `?${text}` : ""}`;
}

/** Read JSON; the path says what comes back. */
export async function read<P extends GetPath & keyof Answers>(path: P, parameters: Parameters<P, "get">): Promise<Answers[P]> {
  return (await ask("GET", address(path, parameters))).json() as Promise<Answers[P]>;
}

/** Change something. */
export async function send<P extends PostPath>(path: P, parameters: Parameters<P, "post">, body?: unknown): Promise<unknown> {
  return (await ask("POST", address(path, parameters), body)).json();
}

/** A path below `/api/v1/` as it stands. */
export async function get<T>(path: string): Promise<T> {
  return (await ask("GET", `/api/v1/${path}`)).json() as Promise<T>;
}

export async function post<T>(path: string, body?: unknown): Promise<T> {
  return (await ask("POST", `/api/v1/${path}`, body)).json() as Promise<T>;
}

export async function remove(path: string): Promise<void> {
  await ask("DELETE", `/api/v1/${path}`);
}

/** One request; anything but a success is an `ApiError`. */
export async function ask(method: string, url: string, body?: unknown, headers: Record<string, string> = {}): Promise<Response> {
  const sent: Record<string, string> = { ...headers };
  if (method !== "GET" && csrf) sent["X-Timepoint-Csrf"] = csrf;
  if (body !== undefined) sent["Content-Type"] = "application/json";
  const answer = await fetch(url, { method, headers: sent, body: body === undefined ? undefined : JSON.stringify(body) });
  if (!answer.ok) {
    const problem = (await answer.json().catch(() => null)) as { detail?: unknown } | null;
    const detail = typeof problem?.detail === "string" ? problem.detail : `HTTP ${answer.status}`;
    throw new ApiError(answer.status, detail);
  }
  return answer;
}
