/** Which page an address shows: `#/room/key`. Each page is a module of its own in `pages/`. */

import { patient } from "./pages/patient";
import { patients } from "./pages/patients";
import { quarantine } from "./pages/quarantine";
import { studies } from "./pages/studies";
import { study } from "./pages/study";

/** What a page gets: the key in its address (empty for a list) and a way to have itself drawn again. */
export interface Visit {
  key: string;
  again: () => void;
}

export type Page = (visit: Visit) => Promise<Node[]>;

interface Room {
  list: Page;
  one?: Page;
}

const ROOMS: Record<string, Room> = {
  studies: { list: studies, one: ({ key }) => study(key) },
  patients: { list: patients, one: ({ key }) => patient(key) },
  quarantine: { list: ({ again }) => quarantine(again) },
};

export function pageAt(hash: string, again: () => void): Promise<Node[]> {
  const [, name = "", key = ""] = hash.split("/");
  const room = ROOMS[name] ?? { list: studies };
  const page = key && room.one ? room.one : room.list;
  return page({ key: decodeURIComponent(key), again });
}
