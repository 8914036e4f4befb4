//! Each target on its seeds, and on some thousand inputs made of them.

use fuzz::driver::{self, Until};
use fuzz::{all, corpus};

/// Enough to find again what is easily found; `cargo xtask fuzz` looks for the rest.
const INPUTS: u64 = 3000;

#[test]
fn whatever_strangers_send_is_read_or_refused() {
    let seed = getrandom::u64().unwrap();
    let begun = std::time::Instant::now();
    for target in all() {
        let inputs = INPUTS / target.cost;
        match driver::run(&target, seed, Until::Inputs(inputs)).unwrap() {
            Ok(report) => println!("{}: {report:?}, {:?} in all", target.name, begun.elapsed()),
            Err(finding) => panic!("{} with seed {seed}: {finding:#?}", target.name),
        }
    }
}

#[test]
fn every_target_has_seeds_and_every_seed_a_target() {
    let names: Vec<&str> = all().iter().map(|target| target.name).collect();
    for entry in std::fs::read_dir(corpus::directory()).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(names.contains(&name.as_str()), "{name} is no target");
    }
    for name in names {
        for seed in corpus::read(name).unwrap() {
            assert_eq!(corpus::unescape(&corpus::escape(&seed)).unwrap(), seed, "{name}");
        }
    }
}

/// The proof that the driver finds what is there.
#[test]
fn a_target_that_fails_is_found_out_and_its_input_made_small() {
    fn fails(bytes: &[u8]) {
        assert!(!bytes.windows(3).any(|three| three == b"0x1"), "there it is");
    }
    let target = fuzz::Target { name: "http1_chunks", run: fails, words: &["0x1"], cost: 1 };
    let finding = driver::run(&target, 1, Until::Inputs(100_000)).unwrap().unwrap_err();
    assert_eq!((finding.input.as_str(), finding.message.as_str()), ("0x1", "there it is"));
}
