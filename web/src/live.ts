/** What moved at the gateway, as it tells by server-sent events. */

export interface Moved {
  changed: string[];
  studies: { study_key: string; state: string; revision: number }[];
}

let source: EventSource | null = null;

/** Follow the gateway until `stop`; the browser connects again by itself. */
export function follow(onMoved: (moved: Moved) => void, onState: (connected: boolean) => void): void {
  stop();
  source = new EventSource("/api/v1/events");
  source.addEventListener("change", (event) => onMoved(JSON.parse((event as MessageEvent<string>).data) as Moved));
  source.addEventListener("open", () => onState(true));
  source.addEventListener("error", () => onState(false));
}

export function stop(): void {
  source?.close();
  source = null;
}
