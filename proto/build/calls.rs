//! Makes the table of calls, as Rust source, from what the contract says by `options.proto`.
//!
//! Invariant: the build fails if a call has no role, if a call of clients does not say how much
//! work it is, or if it names a list that its request does not have.
//!
//! Deliberately absent: what a call does.

use std::fmt::Write as _;

/// The part of `google/protobuf/descriptor.proto` that is needed here, with the options of this
/// project.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct FileSet {
    #[prost(message, repeated, tag = "1")]
    file: Vec<File>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct File {
    #[prost(string, tag = "2")]
    package: String,
    #[prost(message, repeated, tag = "4")]
    message: Vec<Message>,
    #[prost(message, repeated, tag = "6")]
    service: Vec<Service>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Message {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(message, repeated, tag = "2")]
    field: Vec<Field>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Field {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "6")]
    type_name: String,
    #[prost(message, optional, tag = "8")]
    options: Option<FieldOptions>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct FieldOptions {
    #[prost(uint32, tag = "50001")]
    items_max: u32,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Service {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(message, repeated, tag = "2")]
    method: Vec<Method>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Method {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    input: String,
    #[prost(string, tag = "3")]
    output: String,
    #[prost(message, optional, tag = "4")]
    options: Option<MethodOptions>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct MethodOptions {
    #[prost(message, optional, tag = "50001")]
    call: Option<CallOptions>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct CallOptions {
    #[prost(int32, tag = "1")]
    role: i32,
    #[prost(bool, tag = "2")]
    mutates: bool,
    #[prost(oneof = "Work", tags = "3, 4, 5")]
    work: Option<Work>,
    #[prost(bool, tag = "6")]
    standby: bool,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum Work {
    #[prost(string, tag = "3")]
    List(String),
    #[prost(uint32, tag = "4")]
    Items(u32),
    #[prost(bool, tag = "5")]
    Everything(bool),
}

const PACKAGE: &str = ".understudy.v1.";
/// In the order of their numbers in `CallOptions.Role`. 0 is no role.
const ROLES: [&str; 6] = ["Reader", "Writer", "Storage", "OperatorRead", "Admin", "Peer"];

type Made<T> = Result<T, Box<dyn std::error::Error>>;

pub(crate) fn generate(set: &FileSet) -> Made<String> {
    let ours = || set.file.iter().filter(|file| file.package == "understudy.v1");
    let messages: Vec<&Message> = ours().flat_map(|file| &file.message).collect();
    let mut rows = String::new();
    let mut of_clients = String::new();
    let mut answers = String::new();
    for service in ours().flat_map(|file| &file.service) {
        for method in &service.method {
            let place = format!("{}.{}", service.name, method.name);
            let call = method.options.as_ref().and_then(|options| options.call.as_ref());
            let call = call.ok_or_else(|| format!("{place}: the option (call) is missing"))?;
            let role = usize::try_from(call.role)?.checked_sub(1).and_then(|role| ROLES.get(role));
            let role = role.ok_or_else(|| format!("{place}: it has no role"))?;
            let CallOptions { mutates, standby, .. } = call;
            writeln!(
                rows,
                "    CallInfo {{ service: {:?}, name: {:?}, role: CallerRole::{role}, mutates: {mutates}, standby: {standby} }},",
                service.name, method.name
            )?;
            if service.name == "Metadata" && method.name != "Session" {
                let (request, answer) = (short(&method.input)?, short(&method.output)?);
                let work = work(call.work.as_ref(), request, &messages).map_err(|why| format!("{place}: {why}"))?;
                let variant = variant_of("SessionResponse", &method.output, &messages)
                    .ok_or_else(|| format!("{place}: a session has no place for its answer"))?;
                writeln!(
                    of_clients,
                    "            {}({request}) -> {variant}({answer}), {}, mutates: {mutates}, work: {work}, standby: {standby};",
                    method.name,
                    snake(&method.name)
                )?;
            }
        }
    }
    let session = messages.iter().find(|message| message.name == "SessionResponse").ok_or("there are no sessions")?;
    for field in session.field.iter().filter(|field| !field.type_name.is_empty() && field.name != "error") {
        writeln!(answers, "            {}({});", camel(&field.name), short(&field.type_name)?)?;
    }
    let mut limits = String::new();
    for message in &messages {
        for field in &message.field {
            if let Some(FieldOptions { items_max: limit @ 1.. }) = field.options {
                writeln!(limits, "    ({:?}, {:?}, {limit}),", message.name, field.name)?;
            }
        }
    }
    Ok(format!(
        "/// Every call of every service.\n\
         pub const CALLS: &[CallInfo] = &[\n{rows}];\n\n\
         /// Lists with a bound of their own: message, field, elements at most.\n\
         pub(crate) const LIMITED: &[(&str, &str, usize)] = &[\n{limits}];\n\n\
         /// Hands the calls of clients, a row for each, to a macro.\n\
         #[macro_export]\n\
         macro_rules! for_each_call {{\n    ($($then:ident)::+) => {{\n        $($then)::+! {{\n{of_clients}        }}\n    }};\n}}\n\n\
         /// Hands the answers of a session, a row for each, to a macro.\n\
         #[macro_export]\n\
         macro_rules! for_each_answer {{\n    ($($then:ident)::+) => {{\n        $($then)::+! {{\n{answers}        }}\n    }};\n}}\n"
    ))
}

fn short(type_name: &str) -> Made<&str> {
    Ok(type_name.strip_prefix(PACKAGE).ok_or_else(|| format!("{type_name} is not of this package"))?)
}

fn work(work: Option<&Work>, request: &str, messages: &[&Message]) -> Made<String> {
    match work {
        Some(Work::List(list)) => {
            let message = messages.iter().find(|message| message.name == request);
            let has = message.is_some_and(|message| message.field.iter().any(|field| field.name == *list));
            if has { Ok(format!("(list {list})")) } else { Err(format!("{request} has no list {list:?}").into()) }
        }
        Some(Work::Items(items)) => Ok(format!("(items {items})")),
        Some(Work::Everything(true)) => Ok("(everything)".to_owned()),
        Some(Work::Everything(false)) | None => Err("it does not say how much work it is".into()),
    }
}

fn variant_of(holder: &str, type_name: &str, messages: &[&Message]) -> Option<String> {
    let holder = messages.iter().find(|message| message.name == holder)?;
    holder.field.iter().find(|field| field.type_name == type_name).map(|field| camel(&field.name))
}

fn camel(name: &str) -> String {
    let part = |part: &str| part[..1].to_uppercase() + &part[1..];
    name.split('_').map(part).collect()
}

fn snake(name: &str) -> String {
    let lower = |(at, letter): (usize, char)| {
        let mark = if at > 0 && letter.is_uppercase() { "_" } else { "" };
        format!("{mark}{}", letter.to_lowercase())
    };
    name.chars().enumerate().map(lower).collect()
}
