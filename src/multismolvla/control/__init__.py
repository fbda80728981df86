"""From chunks of actions to safe setpoints: queue, merging, observation filter, safety. numpy only."""
