//! `understudy docs`: writes the pages that are made from the program (settings, sample file, metrics), or checks that they are up to date.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use master::config::{page_markdown, sample_toml};
use master::metrics_markdown;

use crate::output::print;

#[derive(clap::Args, Debug)]
pub(super) struct Args {
    /// Where the pages stand.
    #[arg(long, default_value = "docs")]
    dir: PathBuf,
    /// Writes nothing, and fails if something would change.
    #[arg(long)]
    check: bool,
}

pub(super) fn run(args: &Args) -> Result<()> {
    let pages =
        [("configuration.md", page_markdown()), ("understudy.toml", sample_toml()), ("metrics.md", metrics_markdown())];
    for (name, text) in pages {
        let path = args.dir.join(name);
        if args.check {
            check(&path, &text)?;
        } else {
            std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
            print(&path.display().to_string())?;
        }
    }
    Ok(())
}

fn check(path: &Path, text: &str) -> Result<()> {
    let have = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    if have != text {
        bail!("{} is old: cargo run -p understudy -- docs", path.display());
    }
    Ok(())
}
