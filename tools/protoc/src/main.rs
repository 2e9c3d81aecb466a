//! A `protoc` for build scripts on machines that have none: the few options that prost-build passes, on top of protox.
//!
//! Invariant: an option that is not known is an error that names it. Ignored, it would give other code than was asked for.
//!
//! Deliberately absent: plugins and output in any language. All that is written is a descriptor set.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use protox::Compiler;

/// What `--version` says: the oldest protoc whose proto3 this one understands whole (`optional` without a flag).
const VERSION: &str = "libprotoc 3.15.0";

#[derive(Debug, Default, PartialEq, Eq)]
struct Options {
    includes: Vec<PathBuf>,
    files: Vec<PathBuf>,
    output: Option<PathBuf>,
    imports: bool,
    source_info: bool,
}

fn main() -> ExitCode {
    match run(std::env::args_os().skip(1).collect()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("protoc (of this repository, tools/protoc): {why}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: Vec<OsString>) -> Result<(), String> {
    if args.iter().any(|arg| arg == "--version") {
        println!("{VERSION}");
        return Ok(());
    }
    compile(parse(args)?)
}

fn parse(args: Vec<OsString>) -> Result<Options, String> {
    let mut options = Options::default();
    let mut args = args.into_iter();
    while let Some(arg) = args.next() {
        let text = arg.to_str().ok_or_else(|| format!("{arg:?} is not UTF-8"))?;
        let mut next = || args.next().map(PathBuf::from).ok_or_else(|| format!("{text} needs a value"));
        match text {
            "--include_imports" => options.imports = true,
            "--include_source_info" => options.source_info = true,
            // It is no experiment any more, and always on here.
            "--experimental_allow_proto3_optional" => {}
            "-o" => options.output = Some(next()?),
            "-I" => options.includes.push(next()?),
            _ => match text.split_once('=') {
                Some(("--descriptor_set_out", path)) => options.output = Some(path.into()),
                Some(("--proto_path", path)) => options.includes.push(path.into()),
                _ if text.starts_with("-I") => options.includes.push(text[2..].into()),
                _ if text.starts_with('-') => {
                    return Err(format!("{text}: no such option here; install protoc for it"));
                }
                _ => options.files.push(text.into()),
            },
        }
    }
    if options.includes.is_empty() {
        options.includes.push(".".into());
    }
    if options.files.is_empty() {
        return Err("no input files".into());
    }
    Ok(options)
}

fn compile(options: Options) -> Result<(), String> {
    let output = options.output.ok_or("nothing to write: give -o FILE")?;
    let mut compiler = Compiler::new(options.includes).map_err(|error| error.to_string())?;
    compiler.include_imports(options.imports).include_source_info(options.source_info);
    // Its debug form names the file and the place.
    compiler.open_files(options.files).map_err(|error| format!("{error:?}"))?;
    std::fs::write(&output, compiler.encode_file_descriptor_set())
        .map_err(|error| format!("{}: {error}", output.display()))
}

#[cfg(test)]
mod tests {
    use protox::prost_reflect::DescriptorPool;

    use super::*;

    fn args(words: &[&str]) -> Vec<OsString> {
        words.iter().map(OsString::from).collect()
    }

    #[test]
    fn what_prost_build_passes_is_understood() {
        let line = ["--include_imports", "--include_source_info", "-o", "/out/set", "-I", "proto", "proto/a.proto"];
        let expected = Options {
            includes: vec!["proto".into()],
            files: vec!["proto/a.proto".into()],
            output: Some("/out/set".into()),
            imports: true,
            source_info: true,
        };
        assert_eq!(parse(args(&line)), Ok(expected));
    }

    #[test]
    fn an_unknown_option_is_refused_by_name() {
        let error = parse(args(&["--cpp_out=.", "a.proto"])).expect_err("no C++ here");
        assert!(error.contains("--cpp_out=."), "{error}");
    }

    #[test]
    fn a_descriptor_set_with_its_imports_is_written() {
        let dir = tempfile::tempdir().expect("a directory");
        let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).expect("written");
        write("a.proto", "syntax = \"proto3\"; import \"b.proto\"; message A { optional B b = 1; }");
        write("b.proto", "syntax = \"proto3\"; message B {}");
        let path = |name: &str| dir.path().join(name).to_str().expect("a name").to_owned();
        let (out, root, file) = (path("set"), path(""), path("a.proto"));
        run(args(&["--include_imports", "-o", &out, "-I", &root, &file])).expect("compiled");
        let set = DescriptorPool::decode(&*std::fs::read(&out).expect("a set")).expect("whole");
        let names: Vec<_> = set.files().map(|file| file.name().to_owned()).collect();
        assert_eq!(names, ["b.proto", "a.proto"]);
    }

    #[test]
    fn a_damaged_file_is_named() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("broken.proto");
        std::fs::write(&file, "message {").expect("written");
        let dir = dir.path().to_str().expect("a name");
        let line = args(&["-o", "/dev/null", "-I", dir, file.to_str().expect("a name")]);
        let error = run(line).expect_err("it is broken");
        assert!(error.contains("broken.proto"), "{error}");
    }
}
