//! The lengths of a request's lists, counted in its bytes before it is decoded: an element may take
//! two bytes on the wire and two hundred in memory, so a message within its limit could decode to a
//! hundred times as much.
//!
//! ```text
//!   bytes ──► short: cannot hold more elements than a call may have ──► decode
//!        └──► long: count each list, by the contract's descriptors ──► over a limit: refused
//! ```
//!
//! Invariants: a message that passes has no list with more elements than the contract allows, so it
//! decodes to its own size plus a bounded amount; the bytes are read by the decoder's own rules
//! (parts of one message are merged), so nothing is decoded that was not counted.
//!
//! Deliberately absent: whether the bytes are a message at all. The decoder reports it if they are
//! not.

use std::collections::{BTreeMap, HashMap};
use std::sync::LazyLock;

use prost::Message as _;
use prost::encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field};
use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{DescriptorProto, FileDescriptorSet};
use proto::calls::items_max;
use proto::limits::BATCH_ITEMS_MAX;
use proto::status;
use proto::v1::CallError;

/// A message of this size holds no more elements than a call may have, at two bytes each. A number
/// may take one byte, but also little memory.
const SHORT_BYTES: usize = 2 * BATCH_ITEMS_MAX;
const SESSION_REQUEST: &str = "SessionRequest";
const PACKAGE: &str = ".understudy.v1.";

// The contract and the state, neither of which knows the other, bound the same lists.
const _: () = {
    assert!(BATCH_ITEMS_MAX == metadata::CALL_ITEMS_MAX);
    assert!(items_max("Placement", "preferred_segments") == metadata::REPLICAS_MAX as usize);
    assert!(items_max("CopyStartItem", "target_segments") == metadata::REPLICAS_MAX as usize);
    assert!(items_max("CreateTaskItem", "target_segments") == metadata::REPLICAS_MAX as usize);
};

/// Checks a unary call.
pub(crate) fn check_request(method: &str, bytes: &[u8]) -> Result<(), CallError> {
    if bytes.len() <= SHORT_BYTES {
        return Ok(());
    }
    match SHAPES.of_methods.get(method) {
        Some(&shape) => check(shape, bytes).map_err(|over| over.refused()),
        // A request without a method has no decoder.
        None => Ok(()),
    }
}

/// Checks a request on a session.
pub(crate) fn check_session_request(bytes: &[u8]) -> Result<(), CallError> {
    if bytes.len() <= SHORT_BYTES {
        return Ok(());
    }
    let checked = check(SHAPES.session, bytes);
    // The wrapper of the call is not part of the name that a client knows.
    checked
        .map_err(|over| Over { path: over.path.split_once('.').map_or("", |path| path.1).to_owned(), ..over }.refused())
}

/// For another member: its lists are short, so they are always counted.
pub(crate) fn check_question(bytes: &[u8]) -> Result<(), CallError> {
    check(SHAPES.question, bytes).map_err(|over| over.refused())
}

fn check(shape: usize, mut bytes: &[u8]) -> Result<(), Over> {
    count(shape, &mut bytes, &mut Counts::default())
}

/// A list that is too long.
struct Over {
    path: String,
    limit: usize,
}

impl Over {
    fn within(self, field: impl std::fmt::Display) -> Over {
        Over { path: format!("{field}.{}", self.path), ..self }
    }

    fn refused(self) -> CallError {
        let Over { path, limit } = self;
        status::invalid(path, format_args!("more than {limit} items, the limit is {limit}"))
    }
}

/// The parts of a message that can grow. Messages without such parts are not listed.
struct Shape(BTreeMap<u32, Field>);

struct Field {
    name: String,
    kind: Kind,
}

enum Kind {
    /// Its elements may have lists, too.
    List {
        limit: usize,
        element: Option<usize>,
    },
    /// Numbers, packed in any number of runs or one by one.
    Numbers {
        limit: usize,
    },
    Message(usize),
}

struct Shapes {
    all: Vec<Shape>,
    of_methods: HashMap<String, usize>,
    session: usize,
    question: usize,
}

static SHAPES: LazyLock<Shapes> = LazyLock::new(|| {
    let set =
        FileDescriptorSet::decode(proto::FILE_DESCRIPTOR_SET).expect("the descriptors were made by our own build");
    let messages: HashMap<&str, &DescriptorProto> =
        set.file.iter().flat_map(|file| &file.message_type).map(|message| (message.name(), message)).collect();
    let mut made = Making { messages, all: Vec::new(), numbers: HashMap::new() };
    let methods = set.file.iter().flat_map(|file| &file.service).filter(|service| service.name() == "Metadata");
    let methods: Vec<_> = methods.flat_map(|service| &service.method).collect();
    let of_methods =
        methods.iter().filter_map(|method| Some((method.name().to_owned(), made.shape(method.input_type())?)));
    let of_methods = of_methods.collect();
    let session = made.shape(&format!("{PACKAGE}{SESSION_REQUEST}")).expect("its calls have lists");
    let question = made.shape(&format!("{PACKAGE}VerifyQuestion")).expect("its questions have lists");
    Shapes { all: made.all, of_methods, session, question }
});

struct Making<'a> {
    messages: HashMap<&'a str, &'a DescriptorProto>,
    all: Vec<Shape>,
    numbers: HashMap<String, Option<usize>>,
}

impl Making<'_> {
    /// `None`: nothing in it can grow. No message of the contract contains itself.
    fn shape(&mut self, type_name: &str) -> Option<usize> {
        if let Some(known) = self.numbers.get(type_name) {
            return *known;
        }
        let message = *type_name.strip_prefix(PACKAGE).and_then(|name| self.messages.get(name))?;
        let fields = message.field.iter().filter_map(|field| {
            let inner = (field.r#type() == Type::Message).then(|| self.shape(field.type_name())).flatten();
            let is_list = field.label() == Label::Repeated;
            let limit = items_max(message.name(), field.name());
            let kind = match (is_list, field.r#type()) {
                (true, Type::Message | Type::String | Type::Bytes) => Kind::List { limit, element: inner },
                (true, _) => Kind::Numbers { limit },
                (false, _) => Kind::Message(inner?),
            };
            Some((field.number().unsigned_abs(), Field { name: field.name().to_owned(), kind }))
        });
        let fields: BTreeMap<u32, Field> = fields.collect();
        let number = (!fields.is_empty()).then(|| {
            self.all.push(Shape(fields));
            self.all.len() - 1
        });
        self.numbers.insert(type_name.to_owned(), number);
        number
    }
}

/// For one message, whose parts may come in any number of pieces.
#[derive(Default)]
struct Counts {
    lists: BTreeMap<u32, usize>,
    messages: BTreeMap<u32, Counts>,
}

impl Counts {
    fn add(&mut self, tag: u32, count: usize, name: &str, limit: usize) -> Result<usize, Over> {
        let sum = self.lists.entry(tag).or_default();
        *sum += count;
        if *sum > limit { Err(Over { path: name.to_owned(), limit }) } else { Ok(*sum) }
    }
}

fn count(shape: usize, bytes: &mut &[u8], counts: &mut Counts) -> Result<(), Over> {
    let Shape(fields) = &SHAPES.all[shape];
    while !bytes.is_empty() {
        let Ok((tag, wire_type)) = decode_key(bytes) else { return Ok(()) };
        let Some(Field { name, kind }) = fields.get(&tag) else {
            if skip_field(wire_type, tag, bytes, DecodeContext::default()).is_err() {
                return Ok(());
            }
            continue;
        };
        let mut part = match (wire_type, kind) {
            (WireType::LengthDelimited, _) => {
                let length = decode_varint(bytes).ok().and_then(|length| usize::try_from(length).ok());
                let Some((part, rest)) = length.and_then(|length| bytes.split_at_checked(length)) else {
                    return Ok(());
                };
                *bytes = rest;
                part
            }
            (WireType::Varint, Kind::Numbers { limit }) => {
                if decode_varint(bytes).is_err() {
                    return Ok(());
                }
                counts.add(tag, 1, name, *limit)?;
                continue;
            }
            // No decoder reads any further.
            _ => return Ok(()),
        };
        match kind {
            Kind::List { limit, element } => {
                let at = counts.add(tag, 1, name, *limit)? - 1;
                if let Some(element) = element {
                    let counted = count(*element, &mut part, &mut Counts::default());
                    counted.map_err(|over| over.within(format_args!("{name}[{at}]")))?;
                }
            }
            Kind::Numbers { limit } => {
                let last_bytes = part.iter().filter(|byte| **byte < 0x80).count();
                counts.add(tag, last_bytes, name, *limit)?;
            }
            Kind::Message(inner) => {
                let counted = count(*inner, &mut part, counts.messages.entry(tag).or_default());
                counted.map_err(|over| over.within(name))?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
#[path = "lists_test.rs"]
mod tests;
