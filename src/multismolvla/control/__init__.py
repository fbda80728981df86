"""From chunks of actions to safe setpoints: queue, merging, filters, safety. numpy only."""
