//! Wiring, top to bottom: settings to running agent.
