"""The clock: APScheduler with its job store in memory on every worker; whoever inserts a slot first queues the job.

The callback does no work. It writes the unique row (job, scheduled time) and the outbox row in one transaction; a
second worker that fires for the same time finds the row there. `slot` is the scheduled time, never the present.
"""

from __future__ import annotations

import datetime as dt

from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.cron import CronTrigger

from gateway.column_types import utc_now
from gateway.context import Gateway
from gateway.database import insert_or_ignore, session_scope
from gateway.tables import CronSlot, Outbox

_LOOK_BACK = dt.timedelta(days=8)


def start_scheduler(gateway: Gateway) -> BackgroundScheduler:
    """Start the clock for the jobs of the settings; stop it with `shutdown(wait=False)`."""
    scheduler = BackgroundScheduler()
    schedule = gateway.settings.schedule
    for job, expression in (("export", schedule.export), ("housekeeping", schedule.housekeeping)):
        if expression:
            trigger = CronTrigger.from_crontab(expression)
            scheduler.add_job(queue_slot, trigger, args=[gateway, job, trigger], coalesce=True, misfire_grace_time=3600)
    scheduler.start()
    return scheduler


def queue_slot(gateway: Gateway, job: str, trigger: CronTrigger) -> bool:
    """Queue `job` for its latest scheduled time, once for all workers; True where this call did it."""
    slot = latest_slot(trigger, utc_now())
    if slot is None:
        return False
    with session_scope(gateway.database) as session:
        if not insert_or_ignore(session, CronSlot(job=job, slot=slot)):
            return False
        name = f"cron-{job}-{slot:%Y%m%dT%H%M%SZ}"
        session.add(Outbox(job=name, kind=job, payload={"slot": slot.isoformat()}))
    return True


def latest_slot(trigger: CronTrigger, now: dt.datetime) -> dt.datetime | None:
    """The last time the trigger fired up to `now` (UTC), None where it did not within eight days."""
    slot, last = trigger.get_next_fire_time(None, now - _LOOK_BACK), None
    while slot is not None and slot <= now:
        last = slot
        slot = trigger.get_next_fire_time(slot, slot + dt.timedelta(seconds=1))
    return last.astimezone(dt.UTC) if last else None
