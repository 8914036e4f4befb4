//! Tells the story on standard error, step by step, with progress and timings.

use super::report::StepReport;
use indicatif::{ProgressBar, ProgressStyle};
use std::cell::RefCell;
use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

pub struct Narrator {
    steps: Vec<StepReport>,
    is_terminal: bool,
}

/// The step that runs; it may say how far it is.
pub struct Telling {
    bar: ProgressBar,
    notes: RefCell<Vec<String>>,
}

impl Telling {
    pub fn says(&self, progress: impl Into<String>) {
        self.bar.set_message(progress.into());
    }

    /// What the step has found out, told under its line.
    pub fn notes(&self, line: &str) {
        self.notes.borrow_mut().push(line.to_owned());
    }
}

impl Narrator {
    pub fn new() -> Self {
        Self { steps: Vec::new(), is_terminal: std::io::stderr().is_terminal() }
    }

    /// Runs a step; its failure is told, kept for the report, and returned.
    pub async fn step<T>(
        &mut self,
        name: &'static str,
        what: &str,
        work: impl AsyncFnOnce(&Telling) -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        let bar = if self.is_terminal { spinner(what) } else { ProgressBar::hidden() };
        let telling = Telling { bar, notes: RefCell::default() };
        let start = Instant::now();
        let result = work(&telling).await;
        let seconds = start.elapsed().as_secs_f64();
        telling.bar.finish_and_clear();
        let error = result.as_ref().err().map(|error| lifecycle::ErrorChain(error.as_ref()).to_string());
        let mut line = match &error {
            None => format!("  ✓ {what}  {seconds:.2} s"),
            Some(error) => format!("  ✗ {what}  {seconds:.2} s\n      {error}"),
        };
        for note in telling.notes.take() {
            line.push_str("\n      ");
            line.push_str(&note);
        }
        // The terminal may be gone: clearing away goes on without an audience.
        let _audience_gone = writeln!(std::io::stderr(), "{line}");
        self.steps.push(StepReport { name, ok: error.is_none(), seconds, error });
        result
    }

    pub fn has_failed(&self) -> bool {
        self.steps.iter().any(|step| !step.ok)
    }

    pub fn into_steps(self) -> Vec<StepReport> {
        self.steps
    }
}

fn spinner(what: &str) -> ProgressBar {
    let bar = ProgressBar::new_spinner();
    let style = ProgressStyle::with_template("  {spinner} {prefix}  {msg:.dim}");
    if let Ok(style) = style {
        bar.set_style(style);
    }
    bar.set_prefix(what.to_owned());
    bar.enable_steady_tick(Duration::from_millis(100));
    bar
}
