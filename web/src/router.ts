/** Which page an address shows: `#/room/key?options`. Each page is a module of its own in `pages/`, loaded when it is
 * first needed; the viewers bring their drawing libraries along. */

/** What a page gets: the key in its address (empty for a list), its options, and a way to have itself drawn again. */
export interface Visit {
  key: string;
  options: URLSearchParams;
  again: () => void;
  /** Called once, when the page is left. */
  leaving: (act: () => void) => void;
}

export type Page = (visit: Visit) => Promise<Node[]>;

interface Room {
  list?: () => Promise<Page>;
  one?: () => Promise<Page>;
  /** What in the gateway's events makes the page draw itself again. */
  follows: string[];
}

const ROOMS: Record<string, Room> = {
  studies: {
    list: async () => (await import("./pages/studies")).studies,
    one: async () => (await import("./pages/study")).study,
    follows: ["studies", "deliveries", "quarantine"],
  },
  patients: {
    list: async () => (await import("./pages/patients")).patients,
    one: async () => (await import("./pages/patient")).patient,
    follows: ["studies"],
  },
  images: { one: async () => (await import("./pages/images")).images, follows: [] },
  solid: { one: async () => (await import("./pages/solid")).solid, follows: [] },
  quarantine: {
    list: async () => (await import("./pages/quarantine")).quarantine,
    one: async () => (await import("./pages/decision")).decision,
    follows: ["quarantine"],
  },
  deliveries: { list: async () => (await import("./pages/deliveries")).deliveries, follows: ["deliveries"] },
  records: { list: async () => (await import("./pages/records")).records, follows: ["studies"] },
  priors: {
    list: async () => (await import("./pages/priors")).priors,
    one: async () => (await import("./pages/priors")).priorsOf,
    follows: ["studies"],
  },
  jobs: { list: async () => (await import("./pages/jobs")).jobs, follows: ["studies"] },
  rules: { list: async () => (await import("./pages/rules")).rules, follows: [] },
  models: {
    list: async () => (await import("./pages/models")).models,
    one: async () => (await import("./pages/models")).model,
    follows: [],
  },
  exports: { list: async () => (await import("./pages/exports")).exportsPage, follows: ["exports"] },
  audit: { list: async () => (await import("./pages/audit")).audit, follows: [] },
  health: { list: async () => (await import("./pages/health")).health, follows: ["studies", "deliveries", "quarantine"] },
};

export interface Place {
  room: string;
  key: string;
  options: URLSearchParams;
}

export function placeOf(hash: string): Place {
  const [path = "", query = ""] = hash.replace(/^#/, "").split("?");
  const [, room = "", key = ""] = path.split("/");
  return { room: room in ROOMS ? room : "studies", key: decodeURIComponent(key), options: new URLSearchParams(query) };
}

export async function pageAt(place: Place, again: () => void, leaving: (act: () => void) => void): Promise<Node[]> {
  const room = ROOMS[place.room];
  const load = (place.key && room?.one) || room?.list || ROOMS["studies"]?.list;
  const page = load ? await load() : null;
  return page ? page({ key: place.key, options: place.options, again, leaving }) : [];
}

export function follows(place: Place, changed: string[]): boolean {
  return ROOMS[place.room]?.follows.some((part) => changed.includes(part)) ?? false;
}
