"""Celery on Redis: a task that calls httpx, acknowledged when it is done; 64 threads.

`python -m benchmarks.peers.celery_tasks` sends the tasks; Celery's own command runs them.
"""

from __future__ import annotations

import os

import celery
import httpx

from benchmarks.peers.call import ACTIVITIES, HEADERS, LIMITS, URL, body, check

app = celery.Celery("peer", broker=os.environ["BENCH_REDIS"])
app.conf.update(task_acks_late=True, task_ignore_result=True, broker_connection_retry_on_startup=True)
http = httpx.Client(limits=LIMITS, timeout=30, trust_env=False)


def call(activity: str) -> None:
    """One call."""
    check(http.post(URL, content=body(activity), headers=HEADERS).raise_for_status().content)


task = app.task(name="call", autoretry_for=(Exception,))(call)

if __name__ == "__main__":
    for each in ACTIVITIES:
        task.delay(each)
