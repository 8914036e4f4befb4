//! Placement, deployments, back-off and health verdicts, as pure functions
