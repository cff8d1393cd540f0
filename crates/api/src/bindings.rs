//! The console's types, made from the shapes: `console/src/api/generated/`.
//!
//! One file with all types that requests and answers can hold, one that says which operation has which. They are
//! committed, so that the console is built without Rust; the test here fails when they are stale.

use crate::errors::ApiError;
use crate::operations::{self, Entry};
use crate::shapes::session;
use bytes::Bytes;
use godwit_control::service::Service;
use godwit_model::time::Timestamp;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::Path;
use ts_rs::{Config, TS, TypeVisitor};

/// Says that files are to be written instead of compared.
const WRITE: &str = "GODWIT_BINDINGS";

const NOTE: &str = "// Made from crates/api/src/shapes by a test of godwit-api. To make it anew:\n\
    // GODWIT_BINDINGS=write cargo test -p godwit-api bindings\n\n";

/// What was told of types so far.
pub(crate) struct Bindings {
    config: Config,
    /// Declarations by name.
    types: BTreeMap<String, String>,
    /// One line of the map of operations each.
    operations: BTreeMap<String, String>,
    targets: BTreeMap<String, String>,
    used: BTreeSet<String>,
}

impl Bindings {
    fn new() -> Self {
        // No number of ours is beyond what a double holds: 2^53 bytes are eight pebibytes.
        let config = Config::new().with_large_int("number");
        let (types, operations, targets, used) = Default::default();
        Self { config, types, operations, targets, used }
    }

    /// An operation whose answer is a structure.
    pub fn json<Request: TS + 'static, Answer: TS + 'static, F>(
        &mut self,
        entry: &Entry,
        _: impl Fn(&'static Service, Timestamp, Request) -> F,
    ) where
        F: Future<Output = Result<Answer, ApiError>>,
    {
        let answer = self.used::<Answer>();
        self.operation::<Request>(entry, &answer);
    }

    /// An operation whose answer is bytes.
    pub fn octets<Request: TS + 'static, F>(
        &mut self,
        entry: &Entry,
        _: impl Fn(&'static Service, Timestamp, Request) -> F,
    ) where
        F: Future<Output = Result<Bytes, ApiError>>,
    {
        self.operation::<Request>(entry, "ArrayBuffer");
    }

    fn operation<Request: TS + 'static>(&mut self, entry: &Entry, answer: &str) {
        let (action, request) = (entry.permission, self.used::<Request>());
        let line = format!("  '{action}': {{ request: {request}; answer: {answer} }};\n");
        self.operations.insert(action.to_owned(), line);
        let target = format!("  '{action}': '{}.{}',\n", entry.prefix, entry.name);
        self.targets.insert(action.to_owned(), target);
    }

    /// A type that the map of operations names.
    fn used<T: TS + 'static>(&mut self) -> String {
        self.visit::<T>();
        let name = T::ident(&self.config);
        self.used.insert(name.clone());
        name
    }

    fn shapes(&self) -> String {
        self.types.values().fold(NOTE.to_owned(), |text, declaration| text + declaration + "\n")
    }

    fn operations(&self) -> String {
        let mut text = NOTE.to_owned();
        let all = |lines: &BTreeMap<String, String>| lines.values().map(String::as_str).collect::<String>();
        let used: String = self.used.iter().map(|name| format!("  {name},\n")).collect();
        let (operations, targets) = (all(&self.operations), all(&self.targets));
        let _ = write!(
            text,
            "import type {{\n{used}}} from './shapes';\n\n\
             /** Every operation by the name of its action: what it is asked, and what it answers. */\n\
             export interface Operations {{\n{operations}}}\n\n\
             /** What the header X-Amz-Target says for each. */\n\
             export const TARGETS: Record<keyof Operations, string> = {{\n{targets}}};\n"
        );
        text
    }
}

impl TypeVisitor for Bindings {
    fn visit<T: TS + 'static + ?Sized>(&mut self) {
        // What has no place of its own is a type of the language, or a list of something.
        if T::output_path().is_some() {
            let name = T::ident(&self.config);
            let declaration = format!("{}export {}\n", T::docs().unwrap_or_default(), T::decl(&self.config));
            if let Some(other) = self.types.insert(name.clone(), declaration.clone()) {
                assert_eq!(other, declaration, "two shapes are called {name}");
                return;
            }
        }
        T::visit_dependencies(self);
        T::visit_generics(self);
    }
}

fn bindings() -> Bindings {
    let mut bindings = Bindings::new();
    operations::tell_types(&mut bindings);
    bindings.visit::<session::SignInRequest>();
    bindings.visit::<session::SessionDescription>();
    bindings.visit::<session::ChangePasswordRequest>();
    bindings.visit::<session::StreamEvent>();
    bindings
}

#[test]
#[expect(clippy::disallowed_methods, reason = "whoever runs the test says by it what is wanted")]
fn the_bindings_of_the_console_are_those_of_the_shapes() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../console/src/api/generated");
    let bindings = bindings();
    let writes = std::env::var(WRITE).is_ok_and(|what| what == "write");
    for (name, text) in [("shapes.ts", bindings.shapes()), ("operations.ts", bindings.operations())] {
        let file = folder.join(name);
        if writes {
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::write(&file, &text).unwrap();
        }
        let there = std::fs::read_to_string(&file).unwrap_or_default();
        assert!(
            there == text,
            "{} is stale: run GODWIT_BINDINGS=write cargo test -p godwit-api bindings",
            file.display()
        );
    }
}

#[test]
fn the_bindings_say_what_goes_over_the_wire() {
    let bindings = bindings();
    let shapes = bindings.shapes();
    for wanted in ["export type EpochSeconds = number;", "nextToken?: string", "\"PAUSED_ON_FAILURE\"", "bytesStored"] {
        assert!(shapes.contains(wanted), "{wanted}");
    }
    assert!(!shapes.contains("bigint") && !shapes.contains(": any"), "{shapes}");
    let operations = bindings.operations();
    let line = "'sms:GetServers': { request: GetServersRequest; answer: GetServersResponse };";
    assert!(operations.contains(line), "{operations}");
    let works = operations::TABLE.iter().filter(|entry| entry.works()).count();
    assert_eq!(bindings.operations.len(), works, "each that works, once");
}
