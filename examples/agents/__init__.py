"""The demo's agents: what a model would decide is scripted, everything else about them is real."""
