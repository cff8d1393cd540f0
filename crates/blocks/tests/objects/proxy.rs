//! Stands before a server and passes on what goes by, but for what it is told to spoil.

use std::collections::{HashMap, HashSet};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// What becomes of a request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// It is not passed on: the server is said to be overloaded.
    Throttle,
    /// It is not passed on: these keys may not.
    Forbid,
    /// It is passed on, and its answer is not.
    LoseAnswer,
    /// Half of the answer's body is missing.
    CutShort,
    /// What the server refused is said to be done.
    Embellish,
    /// The answer is the one that was given when [`Proxy::remember_lists`] was called.
    OldList,
}

/// Which requests of those that fit.
#[derive(Clone, Debug)]
pub enum When {
    Always,
    /// So many more.
    First(u32),
    /// The first one for each name.
    OncePerName(HashSet<String>),
}

/// Spoils requests.
#[derive(Clone, Debug)]
pub struct Rule {
    pub method: &'static str,
    /// The request's path and query hold this.
    pub part: &'static str,
    pub when: When,
    pub fault: Fault,
}

impl Rule {
    fn fits(&mut self, method: &str, target: &str) -> bool {
        if self.method != method || !target.contains(self.part) {
            return false;
        }
        match &mut self.when {
            When::Always => true,
            When::First(left) => {
                let fits = *left > 0;
                *left = left.saturating_sub(1);
                fits
            }
            When::OncePerName(seen) => seen.insert(target.to_owned()),
        }
    }
}

/// A request that came by: its method, path and query, and what was done to it.
pub type Passed = (String, String, Option<Fault>);

#[derive(Default)]
struct State {
    rules: Vec<Rule>,
    passed: Vec<Passed>,
    /// The newest answer to each list.
    lists: HashMap<String, Vec<u8>>,
    old: HashMap<String, Vec<u8>>,
}

pub struct Proxy {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    task: JoinHandle<()>,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Proxy {
    pub async fn before(server: SocketAddr) -> Proxy {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let state = Arc::new(Mutex::new(State::default()));
        let shared = state.clone();
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                // Whoever is cut off does it on purpose.
                let serve = pass(client, server, shared.clone());
                tokio::spawn(async move {
                    let _ = serve.await;
                });
            }
        });
        Proxy { address, state, task }
    }

    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// From now on these rules hold; what came by before is forgotten.
    pub fn spoil(&self, rules: impl IntoIterator<Item = Rule>) {
        let mut state = self.state.lock().unwrap();
        state.rules = rules.into_iter().collect();
        state.passed.clear();
    }

    /// Lists that are old from now on are as they were last given.
    pub fn remember_lists(&self) {
        let mut state = self.state.lock().unwrap();
        state.old = state.lists.clone();
    }

    pub fn passed(&self) -> Vec<Passed> {
        self.state.lock().unwrap().passed.clone()
    }

    /// How many requests had this done to them.
    pub fn n_spoilt(&self, fault: Fault) -> usize {
        self.passed().iter().filter(|(_, _, done)| *done == Some(fault)).count()
    }
}

async fn pass(mut client: TcpStream, server: SocketAddr, state: Arc<Mutex<State>>) -> io::Result<()> {
    let request = read_request(&mut client).await?;
    let head = String::from_utf8_lossy(&request.head).into_owned();
    let mut words = head.split_whitespace();
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let is_list = method == "GET" && target.contains("list-type=2");
    let (fault, old) = {
        let mut state = state.lock().unwrap();
        let fault = state.rules.iter_mut().find_map(|rule| rule.fits(method, target).then_some(rule.fault));
        state.passed.push((method.to_owned(), target.to_owned(), fault));
        (fault, state.old.get(target).cloned())
    };
    match (fault, old) {
        (Some(Fault::Throttle), _) => return client.write_all(&answer("503 Slow Down", "SlowDown")).await,
        (Some(Fault::Forbid), _) => return client.write_all(&answer("403 Forbidden", "AccessDenied")).await,
        (Some(Fault::OldList), Some(old)) => return client.write_all(&old).await,
        _ => {}
    }
    let answer = ask(server, &request).await?;
    if is_list && fault.is_none() {
        state.lock().unwrap().lists.insert(target.to_owned(), answer.clone());
    }
    match fault {
        Some(Fault::LoseAnswer) => Ok(()),
        Some(Fault::CutShort) => {
            let body = end_of_head(&answer).unwrap_or(0);
            client.write_all(&answer[..body + (answer.len() - body) / 2]).await
        }
        Some(Fault::Embellish) if answer.starts_with(b"HTTP/1.1 412") => {
            client.write_all(b"HTTP/1.1 200 OK\r\nETag: \"e\"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").await
        }
        _ => client.write_all(&answer).await,
    }
}

struct Request {
    head: Vec<u8>,
    body: Vec<u8>,
}

async fn read_request(client: &mut TcpStream) -> io::Result<Request> {
    let mut read = Vec::new();
    let end = loop {
        if let Some(end) = end_of_head(&read) {
            break end;
        }
        if client.read_buf(&mut read).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    };
    let mut body = read.split_off(end);
    let head = String::from_utf8_lossy(&read).to_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok()).unwrap_or(0);
    while body.len() < length {
        if client.read_buf(&mut body).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(Request { head: read, body })
}

/// Asks over a connection of its own, so that the answer ends where that ends.
async fn ask(server: SocketAddr, request: &Request) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(server).await?;
    stream.write_all(&request.head[..request.head.len() - 2]).await?;
    stream.write_all(b"Connection: close\r\n\r\n").await?;
    stream.write_all(&request.body).await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    Ok(answer)
}

fn end_of_head(bytes: &[u8]) -> Option<usize> {
    bytes.windows(4).position(|window| window == b"\r\n\r\n").map(|at| at + 4)
}

fn answer(status: &str, code: &str) -> Vec<u8> {
    let body = format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>not now</Message></Error>");
    let length = body.len();
    format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}").into_bytes()
}
