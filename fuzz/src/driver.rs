//! Runs a target on ever new inputs.

use crate::coverage::Coverage;
use crate::mutate::mutate;
use crate::random::Random;
use crate::{Target, corpus};
use std::panic::{self, AssertUnwindSafe};
use std::time::{Duration, Instant};

/// Inputs a run keeps because they came somewhere new.
const KEPT_MAX: usize = 20_000;
/// Of one input. A reader of at most `INPUT_BYTES_MAX` that takes longer is one that a stranger can keep busy; a machine that
/// is busy otherwise makes a tenth of a second two.
pub const INPUT_TIME_MAX: Duration = Duration::from_secs(20);
/// Attempts to make a finding smaller.
const SHRINKS_MAX: usize = 3000;

/// How long a run goes on.
#[derive(Clone, Copy, Debug)]
pub enum Until {
    Inputs(u64),
    Time(Duration),
}

#[derive(Debug)]
pub struct Report {
    pub inputs: u64,
    pub took: Duration,
    /// The longest time one input took.
    pub slowest: Duration,
    /// Inputs that came somewhere new, and places that were reached; 0 without counters.
    pub kept: usize,
    pub places: usize,
}

/// An input that something does not hold for.
#[derive(Debug)]
pub struct Finding {
    /// As small as it could be made, as a line of the corpus.
    pub input: String,
    pub message: String,
    pub inputs: u64,
}

/// Runs until then, or to the first finding. Every seed of the corpus is run first.
pub fn run(target: &Target, seed: u64, until: Until) -> anyhow::Result<Result<Report, Finding>> {
    Ok(run_from(target, corpus::read(target.name)?, seed, until))
}

/// The same from seeds of the caller's: of a target that lives with what it tries. There is one at least.
pub fn run_from(target: &Target, mut inputs: Vec<Vec<u8>>, seed: u64, until: Until) -> Result<Report, Finding> {
    let (mut random, mut coverage) = (Random::new(seed), Coverage::default());
    let seeds = inputs.len();
    let (begun, mut count, mut slowest) = (Instant::now(), 0, Duration::ZERO);
    let mut next = Vec::new();
    loop {
        let is_over = match until {
            Until::Inputs(inputs) => count >= inputs.max(seeds as u64),
            Until::Time(time) => count >= seeds as u64 && begun.elapsed() >= time,
        };
        if is_over {
            break;
        }
        next.clear();
        match inputs.get(count as usize) {
            Some(seed) if count < seeds as u64 => next.extend_from_slice(seed),
            _ => {
                let base: &Vec<u8> = random.one_of(&inputs);
                next.extend_from_slice(base);
                let other = random.one_of(&inputs);
                mutate(&mut next, other, target.words, &mut random);
            }
        }
        coverage.begin();
        let (outcome, took) = attempt(target, &next);
        count += 1;
        slowest = slowest.max(took);
        if let Err(message) = outcome {
            let input = corpus::escape(&shrink(target, &next));
            return Err(Finding { input, message, inputs: count });
        }
        if coverage.is_new() && count > seeds as u64 && inputs.len() < KEPT_MAX {
            inputs.push(next.clone());
        }
    }
    let kept = if coverage.is_counted() { inputs.len() - seeds } else { 0 };
    Ok(Report { inputs: count, took: begun.elapsed(), slowest, kept, places: coverage.places() })
}

/// What is wrong with the target on this input, and how long it took.
fn attempt(target: &Target, input: &[u8]) -> (Result<(), String>, Duration) {
    let begun = Instant::now();
    let outcome = panic::catch_unwind(AssertUnwindSafe(|| (target.run)(input)));
    let took = begun.elapsed();
    let outcome = match outcome {
        Ok(()) if took > INPUT_TIME_MAX => Err(format!("took {took:?}")),
        Ok(()) => Ok(()),
        Err(panic) => Err(match panic.downcast::<String>() {
            Ok(text) => *text,
            Err(panic) => panic.downcast::<&str>().map_or_else(|_| "panicked".to_owned(), |text| (*text).to_owned()),
        }),
    };
    (outcome, took)
}

/// Takes away what is not needed for it to fail.
fn shrink(target: &Target, input: &[u8]) -> Vec<u8> {
    let mut smallest = input.to_vec();
    let mut attempts = 0;
    let mut piece = smallest.len().div_ceil(2);
    while piece > 0 && attempts < SHRINKS_MAX {
        let mut at = 0;
        while at < smallest.len() && attempts < SHRINKS_MAX {
            let mut smaller = smallest.clone();
            drop(smaller.drain(at..(at + piece).min(smallest.len())));
            attempts += 1;
            if attempt(target, &smaller).0.is_err() {
                smallest = smaller;
            } else {
                at += piece;
            }
        }
        piece /= 2;
    }
    smallest
}
