//! `bench steer`: what steering adds to one connect() of a pod.

use anyhow::{Result, bail};

use crate::bench::{Effort, report::Report};

pub(crate) fn run(_effort: Effort, _report: &mut Report) -> Result<()> {
    bail!("not yet")
}
