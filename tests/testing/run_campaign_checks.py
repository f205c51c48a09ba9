"""Try the first cases of named checks of campaigns, in a process that forks: COUNT PIECE/TOPIC=CHECK ...; prints cases and faults."""

import json
import sys

from campaign.checks import run_topic

if __name__ == "__main__":
    count, *chosen = sys.argv[1:]
    by_topic = {}
    for word in chosen:
        topic, _, check = word.partition("=")
        by_topic.setdefault(topic, []).append(check)
    found = {topic: run_topic(*topic.split("/"), only=checks, count=int(count)) for topic, checks in by_topic.items()}
    sys.stdout.write(json.dumps({topic: [result.cases, result.faults] for topic, result in found.items()}))
