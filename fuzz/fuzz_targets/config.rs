//! Bytes as a configuration file: refused with a message, or a valid configuration that a node can
//! work with.

#![no_main]

use std::fs::File;
use std::io::{Seek as _, Write as _};
use std::os::fd::AsRawFd as _;
use std::sync::OnceLock;

use clap::Parser as _;
use libfuzzer_sys::fuzz_target;
use master::config::{Config, Flags};
use master::{Node, in_process};
use shared::life;
use shared::requests::{templates, world};

#[derive(clap::Parser)]
struct Args {
    #[command(flatten)]
    flags: Flags,
}

/// A file without a name, and the flags that lead to it.
struct Way {
    file: File,
    flags: Flags,
}

fn way() -> &'static Way {
    static WAY: OnceLock<Way> = OnceLock::new();
    WAY.get_or_init(|| {
        let path = std::env::temp_dir().join(format!("understudy-fuzz-{}.toml", std::process::id()));
        let file = File::create_new(&path).expect("there is a place for files");
        std::fs::remove_file(&path).expect("it is our own");
        let path = format!("/proc/self/fd/{}", file.as_raw_fd());
        let args = Args::try_parse_from(["fuzz", "--config", &path]).expect("the flag is there");
        Way { file, flags: args.flags }
    })
}

fuzz_target!(|data: &[u8]| {
    let mut file = &way().file;
    file.set_len(0).and_then(|()| file.rewind()).and_then(|()| file.write_all(data)).expect("it is our own file");
    match way().flags.load() {
        Ok(config) => {
            config.validate().expect("what was loaded is valid");
            try_node(config);
        }
        Err(refused) => assert!(!refused.to_string().is_empty()),
    }
});

/// Bounds may be reached at once; nothing else may go wrong.
fn try_node(config: Config) {
    let node = Node::alone(config);
    for message in world().iter().chain(templates()) {
        in_process::answer(&node, message.clone()).expect("it is a request");
    }
    life::look_at(&node.state());
    node.state().check().unwrap_or_else(|what| panic!("the node is not sound: {what}"));
}
