"""Computes instants with cronsim. Reads a JSON array of { cron, zone, from, count } and writes an array of arrays of
seconds since the Unix epoch; null where it refuses an expression."""

import json
import sys
from datetime import datetime, timezone
from itertools import islice
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError


def instants(cron, zone, start, count):
    # It begins strictly after a moment.
    before = datetime.fromtimestamp(start - 1, timezone.utc).astimezone(ZoneInfo(zone))
    try:
        return [int(at.timestamp()) for at in islice(CronSim(cron, before), count)]
    except CronSimError:
        return None


cases = json.load(sys.stdin)
json.dump([instants(case["cron"], case["zone"], case["from"], case["count"]) for case in cases], sys.stdout)
