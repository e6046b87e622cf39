/** Who is signed in, and what they may do. */

import { post, read, remove, useCsrf } from "./api";
import type { Who } from "./api";

let who: Who | null = null;

export async function whoAmI(): Promise<Who> {
  return keep(await read("session", {}));
}

export async function signIn(token: string): Promise<Who> {
  return keep(await post<Who>("session", { token }));
}

export async function signOut(): Promise<void> {
  await remove("session");
  who = null;
}

export function current(): Who | null {
  return who;
}

export function mayOperate(): boolean {
  return who?.role === "operator" || who?.role === "admin";
}

function keep(told: Who): Who {
  who = told;
  useCsrf(told.csrf);
  return told;
}
