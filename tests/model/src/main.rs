//! Checks an instance of the model and prints what was found:
//! `understudy-model MEMBERS FAILURES [LOSSES [EPOCHS]]`.
//!
//! Fails if a promise is broken, if something that must be reached was not, or if the checker did
//! not finish.

use std::error::Error;
use std::process::ExitCode;
use std::time::Instant;

use stateright::{Checker, Expectation, Model};
use understudy_model::rules::{Bounds, Rules};

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let bounds = match words.as_slice() {
        [members, failures] => Bounds::small(members.parse()?, failures.parse()?),
        [members, failures, losses] => {
            Bounds { losses: losses.parse()?, ..Bounds::losing(members.parse()?, failures.parse()?) }
        }
        [members, failures, losses, epochs] => {
            let bounds = Bounds::losing(members.parse()?, failures.parse()?);
            Bounds { losses: losses.parse()?, epochs: epochs.parse()?, ..bounds }
        }
        _ => return Err("usage: MEMBERS FAILURES [LOSSES [EPOCHS]]".into()),
    };
    bounds.check()?;
    Ok(if check(Rules { bounds, mistake: None }) { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn check(rules: Rules) -> bool {
    println!("{:?}", rules.bounds);
    let start = Instant::now();
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let checker = rules.checker().threads(threads).spawn_bfs().join();
    let held = rules.properties().iter().all(|property| {
        let path = checker.discovery(property.name);
        let holds = path.is_some() == (property.expectation == Expectation::Sometimes);
        let word = match (&property.expectation, holds) {
            (Expectation::Sometimes, true) => "seen",
            (Expectation::Sometimes, false) => "NEVER SEEN",
            (_, true) => "holds",
            (_, false) => "BROKEN",
        };
        println!("{word:>10}  {}", property.name);
        path.filter(|_| !holds).into_iter().flat_map(|path| path.into_actions()).for_each(|step| println!("{step:?}"));
        holds
    });
    println!(
        "{} states, {} steps between them, depth {}, {:.1} s",
        checker.unique_state_count(),
        checker.state_count(),
        checker.max_depth(),
        start.elapsed().as_secs_f64()
    );
    held && checker.is_done()
}
