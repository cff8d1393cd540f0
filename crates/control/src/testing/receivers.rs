//! Everybody who is told something: each receiver takes it, refuses it, or does not answer.

use super::Gate;
use crate::notify::Notifier;
use async_trait::async_trait;
use godwit_model::event::{EventKind, Message};
use godwit_model::failure::{Code, Failure};
use godwit_model::id::EventId;
use godwit_model::recipient::Recipient;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};

/// What a receiver does with a message.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    Take,
    Fail(Code),
    Hang,
}

/// A message that arrived, or was tried.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Seen {
    pub to: String,
    pub id: EventId,
    /// `None` is a test.
    pub kind: Option<EventKind>,
    pub taken: bool,
}

/// Outlives a kill, as the world does.
pub(crate) struct Receivers {
    gate: Gate,
    answers: Mutex<HashMap<String, Answer>>,
    seen: Mutex<Vec<Seen>>,
}

impl Receivers {
    pub fn new(gate: Gate) -> Arc<Receivers> {
        Arc::new(Receivers { gate, answers: Mutex::default(), seen: Mutex::default() })
    }

    /// From now on this receiver answers so.
    pub fn answer(&self, to: &str, answer: Answer) {
        self.answers.lock().unwrap().insert(to.to_owned(), answer);
    }

    /// All attempts, oldest first.
    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// What this receiver took, oldest first.
    pub fn taken(&self, to: &str) -> Vec<EventKind> {
        self.seen().into_iter().filter(|seen| seen.to == to && seen.taken).filter_map(|seen| seen.kind).collect()
    }

    /// How often this receiver was tried.
    pub fn attempts(&self, to: &str) -> usize {
        self.seen().iter().filter(|seen| seen.to == to).count()
    }
}

#[async_trait]
impl Notifier for Receivers {
    async fn deliver(&self, message: &Message, recipient: &Recipient) -> Result<(), Failure> {
        self.gate.pass("deliver").await;
        let to = recipient.to_string();
        let answer = self.answers.lock().unwrap().get(&to).copied().unwrap_or(Answer::Take);
        let kind = match message {
            Message::Event(event) => Some(event.kind),
            Message::Test { .. } => None,
        };
        let seen = Seen { to, id: message.id().clone(), kind, taken: answer == Answer::Take };
        self.seen.lock().unwrap().push(seen);
        match answer {
            Answer::Take => {
                self.gate.pass("delivered").await;
                Ok(())
            }
            Answer::Fail(code) => Err(Failure::new(code, "the receiver says no")),
            Answer::Hang => std::future::pending().await,
        }
    }
}
