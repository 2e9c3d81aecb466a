//! A server process, storage clients that mount segments there, and commands that run against it.

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use client::{Client, Options, Segment};
use serde_json::Value;
use test_ports::Port;
use tokio::runtime::Runtime;

pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_understudy");
/// Longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// `understudy serve`, until it is dropped.
pub(crate) struct World {
    server: Process,
    port: Port,
    runtime: Runtime,
    clients: Vec<Client>,
}

/// The result of a command.
#[derive(Debug)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl World {
    /// A world without segments.
    pub(crate) fn empty() -> World {
        let port = test_ports::free_port();
        let server = serve(&port);
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        World { server, port, runtime, clients: Vec::new() }
    }

    /// With a segment of 1 GiB for each name, each of a client of its own on a host of that name.
    pub(crate) fn with(segments: &[&str]) -> World {
        let mut world = World::empty();
        for name in segments {
            world.mount(name, name);
        }
        world
    }

    pub(crate) fn mount(&mut self, name: &str, host: &str) {
        let mut options = Options::new([self.address()]);
        options.host = host.to_owned();
        let segment = Segment::memory(name, 1 << 44, 1 << 30, format!("{host}:1"));
        let client = self.runtime.block_on(async {
            let client = Client::connect(options).await.unwrap();
            client.mount_segment(&Segment { host: host.to_owned(), ..segment }).await.unwrap();
            client
        });
        self.clients.push(client);
    }

    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Uses the SDK.
    pub(crate) fn sdk<T>(&self, work: impl AsyncFnOnce(&Client) -> T) -> T {
        let client = self.clients.first().expect("there is a segment");
        self.runtime.block_on(work(client))
    }

    /// A command with the address of this server.
    pub(crate) fn command(&self, words: &[&str]) -> Command {
        let mut command = program(words);
        command.args(["--address", &self.address()]);
        command
    }

    pub(crate) fn run(&self, words: &[&str]) -> Ran {
        run(self.command(words))
    }

    /// A command that must succeed, with nothing on stderr.
    pub(crate) fn ok(&self, words: &[&str]) -> String {
        self.run(words).ok()
    }

    /// Its JSON document.
    pub(crate) fn json(&self, words: &[&str]) -> Value {
        let mut words = words.to_vec();
        words.push("--json");
        serde_json::from_str(&self.ok(&words)).unwrap()
    }

    /// A complete object.
    pub(crate) fn put(&self, key: &str) {
        self.ok(&["kv", "put-start", key, "--size", "4KiB"]);
        self.ok(&["kv", "put-end", key]);
    }

    pub(crate) fn kill_server(&mut self) {
        self.server.kill();
    }

    /// Another server on the same port, which begins with nothing.
    pub(crate) fn restart_server(&mut self) {
        self.kill_server();
        self.server = serve(&self.port);
    }
}

impl Ran {
    /// Exit code 0 and nothing on stderr.
    pub(crate) fn ok(self) -> String {
        assert!(self.code == Some(0) && self.stderr.is_empty(), "{self:#?}");
        self.stdout
    }

    /// Exit code 0 and a hint on stderr.
    pub(crate) fn hinted(self, hint: &str) -> String {
        assert!(self.code == Some(0) && self.stderr.contains(hint), "{self:#?}");
        self.stdout
    }

    /// One line on stderr for people, with the reason.
    pub(crate) fn fails(self, code: i32, reason: &str) -> Ran {
        assert_eq!(self.code, Some(code), "{self:#?}");
        assert!(self.stderr.starts_with(&format!("error: {reason}: ")), "{self:#?}");
        assert_eq!(self.stderr.lines().count(), 1, "{self:#?}");
        self
    }

    /// One object on stderr for programs, with the reason.
    pub(crate) fn fails_json(self, code: i32, reason: &str) -> Ran {
        assert_eq!(self.code, Some(code), "{self:#?}");
        let told: Value = serde_json::from_str(&self.stderr).unwrap_or_else(|_| panic!("{self:#?}"));
        let error = &told["error"];
        assert_eq!(error["reason"], reason, "{self:#?}");
        let is_said = |field: &str| error[field].as_str().is_some_and(|text| !text.is_empty());
        assert!(is_said("message") && is_said("what_to_do"), "{self:#?}");
        self
    }

    pub(crate) fn document(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|_| panic!("{self:#?}"))
    }
}

fn serve(port: &Port) -> Process {
    let address = format!("127.0.0.1:{port}");
    let mut server = Process::spawn(program(&["serve", "--log-level", "warn", "--listen", &address]));
    let line = server.line();
    assert!(line.contains(&address), "{line}");
    server
}

/// The program, without environment variables that it would read.
pub(crate) fn program(words: &[&str]) -> Command {
    let mut command = Command::new(PROGRAM);
    clean(&mut command);
    command.args(words);
    command
}

pub(crate) fn clean(command: &mut Command) {
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("UNDERSTUDY_")) {
        command.env_remove(name);
    }
    command.env_remove("NO_COLOR").stdin(Stdio::null());
}

pub(crate) fn run(mut command: Command) -> Ran {
    let output = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Ran { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr) }
}

/// A line for a shell, as it would be pasted.
pub(crate) fn paste(line: &str) -> Ran {
    let mut shell = Command::new("sh");
    clean(&mut shell);
    shell.args(["-c", line]);
    run(shell)
}

/// A process that stays. It is killed when this is dropped.
pub(crate) struct Process {
    child: Child,
    stdout: BufReader<std::process::ChildStdout>,
}

impl Process {
    pub(crate) fn spawn(mut command: Command) -> Process {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        Process { child, stdout }
    }

    /// The next line that it prints.
    pub(crate) fn line(&mut self) -> String {
        let mut line = String::new();
        self.stdout.read_line(&mut line).unwrap();
        if line.is_empty() {
            panic!("it has ended: {}", self.errors());
        }
        line.trim_end().to_owned()
    }

    pub(crate) fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args([&format!("-{name}"), &pid]).status().unwrap();
        assert!(sent.success());
    }

    /// Waits for its end, and returns the rest of its output.
    pub(crate) fn end(mut self) -> Ran {
        let code = self.wait().code();
        let mut stdout = String::new();
        self.stdout.read_to_string(&mut stdout).unwrap();
        let stderr = self.errors();
        Ran { code, stdout, stderr }
    }

    fn errors(&mut self) -> String {
        let mut stderr = String::new();
        if let Some(mut errors) = self.child.stderr.take() {
            errors.read_to_string(&mut stderr).unwrap();
        }
        stderr
    }

    fn wait(&mut self) -> ExitStatus {
        let began = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(began.elapsed() < PATIENCE, "it does not end");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    pub(crate) fn kill(&mut self) {
        // An error means that it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Waits until it is so, or fails.
pub(crate) fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < PATIENCE, "{what}: not in time");
        std::thread::sleep(Duration::from_millis(20));
    }
}
